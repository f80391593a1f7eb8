//! The scripts. Their text is constant; what varies are keys and arguments.

use std::sync::LazyLock;

use crate::line::Script;

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $title:literal: $($file:literal),+;)*) => {
        $($(#[$doc])* pub(crate) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new($title, concat!($(include_str!(concat!("scripts/", $file))),+)));)*
    };
}

scripts! {
    /// Takes a seat or a place in its queue.
    CLAIM = "claim": "claim.lua", "common.lua", "claim_queue.lua";
    /// Takes a claim out and passes the seat on.
    WITHDRAW = "withdraw": "withdraw.lua", "common.lua", "withdraw_queue.lua";
    /// Tells holders to let go, or removes them.
    EVICT = "evict": "evict.lua", "common.lua", "evict_holders.lua";
    /// Replaces a holder's record.
    AMEND = "amend": "amend.lua", "common.lua", "amend_holder.lua";
    /// Who holds and who waits.
    LOOK = "look": "look.lua", "common.lua", "look_seat.lua";
    /// Renews claims.
    RENEW = "renew": "renew.lua", "common.lua", "renew_claims.lua";
    /// A session's own key.
    SESSION = "session": "session.lua";
    /// The sign of life that Python looks at.
    BEAT = "beat": "beat.lua";
    /// Steps of a group.
    GROUP = "group": "group.lua";
    /// Appends a message.
    PUBLISH = "publish": "topic.lua", "publish.lua";
    /// Messages after a place.
    FETCH = "fetch": "topic.lua", "fetch.lua";
    /// Lets go of old messages.
    TRIM = "trim": "topic.lua", "trim.lua";
}
