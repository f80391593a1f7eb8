//! The promises, one file per subject. `steps_*` hold for drivers, `api_*` for core over a driver.

// Cases are tests that live in a library: a failed assumption there is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use tooz_core::backend::Liveness;
use tooz_core::{Claim, Coordinator, Name};

use crate::catalogue::catalogue;
use crate::suite::Case;
use crate::suite::Need::{Fencing, Fifo, Groups, Lease, Locks, Shared, Topics};
use crate::world::{Session, eventually, name};

/// Names of every shape a driver has to carry, no two the same.
fn names() -> Vec<Name> {
    let long = "x".repeat(255);
    let wide = "é".repeat(127);
    let dots = ".".repeat(255);
    let texts = [
        "a",
        "ab",
        "A",
        "a ",
        " a",
        "a/b",
        "a%2Fb",
        "a/",
        "/a",
        "/",
        ".",
        "..",
        "../a",
        "..\\a",
        "a\nb",
        "a\0b",
        "\0",
        "%",
        "%00",
        "%2e%2e",
        "{a}",
        "{a}b",
        "a}b{",
        "*",
        "?",
        "[a]",
        "a:b",
        "leader",
        "leader_of_a",
        "a_lock",
        "queue",
        "format",
        "~",
        "-a",
        "$(a)",
        "'",
        "\"",
        "\\",
        "\u{1b}[2J",
        "é",
        "e\u{301}",
        "日本語",
        "🔒",
        "\u{200b}",
        &long,
        &wide,
        &dots,
    ];
    texts.into_iter().map(name).collect()
}

/// Whether a holder learns that it was told to let go or removed: by its wait, or by its next beat where
/// only those tell.
async fn told(session: &Session, claim: &Claim) -> bool {
    let beats = async {
        if session.backend.profile().liveness == Liveness::Kernel {
            return std::future::pending().await;
        }
        loop {
            let renewal = session.backend.renew(std::slice::from_ref(claim), &[]).await;
            if renewal.is_ok_and(|renewal| renewal.ousted.contains(&claim.id)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(30), async {
        tokio::select! {
            () = session.locks().ousted(claim) => {}
            () = beats => {}
        }
    });
    told.await.is_ok()
}

/// Waits until so many claims wait for a lock.
async fn queued(coord: &Coordinator, name: &str, count: usize) {
    eventually("see the queue", async || {
        let queue = coord.lock(name).queue().await.map_err(|e| e.to_string())?;
        if queue.waiting.len() == count { Ok(()) } else { Err(format!("not {count} waiting: {queue:?}")) }
    })
    .await;
}

catalogue! {($)
    steps {
        steps_claims [Locks] {
            a_free_seat_is_held_at_once,
            a_repeated_claim_is_the_same_grant,
            a_repeated_claim_keeps_its_place,
            a_repeated_claim_after_a_hand_over_is_its_grant,
            claims_of_one_session_exclude_each_other,
            sessions_of_one_member_exclude_each_other,
            a_lock_and_a_leadership_of_one_name_are_two_seats,
            names_of_every_shape_are_seats_of_their_own,
            members_of_every_shape_are_shown_exactly,
            a_grant_proves_what_the_profile_declares,
            looking_changes_nothing,
        }
        steps_try [Locks] {
            a_try_takes_a_free_seat,
            a_failed_try_leaves_nothing,
        }
        steps_withdraw [Locks] {
            a_withdrawn_holder_frees_the_seat,
            a_repeated_withdrawal_spares_the_next_holder,
            a_withdrawn_waiter_leaves_the_queue,
            a_claim_granted_meanwhile_is_withdrawn_and_passed_on,
            an_unknown_claim_is_absent,
            a_claim_that_lands_after_its_withdrawal_is_void,
            a_copy_of_a_withdrawn_claim_does_not_bring_it_back,
            a_waiter_withdrawn_in_doubt_stays_out_of_the_queue,
        }
        steps_waits [Locks] {
            a_release_wakes_the_waiter,
            a_release_before_the_wait_counts,
            a_wait_may_be_dropped,
            a_wait_ends_with_its_own_entry,
            a_wait_ends_with_the_session,
            every_change_of_a_queue_stirs,
            a_change_wakes_the_observer_of_a_queue,
            a_holder_is_told_of_its_removal,
            a_withdrawal_during_the_hand_over_wakes_the_next,
        }
        steps_push [] {
            a_waiter_is_told_of_its_turn,
            a_watcher_is_told_of_a_member,
            a_subscriber_is_told_of_a_message,
        }
        steps_queue [Locks, Fifo] {
            waiters_are_served_in_order,
            a_newcomer_does_not_overtake,
            a_try_does_not_overtake,
            a_dead_waiter_is_passed_over,
            a_dead_holder_frees_the_seat_for_the_first_waiter,
        }
        steps_shared [Locks, Shared, Fifo] {
            readers_hold_together,
            a_writer_waits_for_the_last_reader,
            a_reader_waits_for_the_writer,
            a_reader_does_not_overtake_a_waiting_writer,
            leading_readers_are_let_in_together,
            a_writer_that_gives_up_lets_readers_pass,
            a_dead_reader_frees_only_its_own_share,
        }
        steps_tokens [Locks, Fencing] {
            tokens_grow_over_holders_and_sessions,
            tokens_grow_after_a_crash,
            tokens_grow_after_an_eviction,
        }
        steps_evict [Locks] {
            a_notice_tells_the_holder,
            force_removes_the_holder_and_passes_on,
            only_those_named_are_evicted,
            nobody_is_evicted_from_a_free_seat,
        }
        steps_values [Locks] {
            a_holders_value_is_shown,
            a_value_survives_the_hand_over,
            a_holder_amends_its_value,
            who_does_not_hold_amends_nothing,
        }
        steps_sessions [] {
            closing_frees_everything,
            closing_twice_is_fine,
            a_closed_session_claims_nothing,
            a_crash_frees_everything,
            a_session_is_not_lost_while_it_lives,
        }
        steps_leases [Lease] {
            an_expired_session_is_told,
            an_expired_session_loses_everything,
            an_expired_session_cannot_come_back,
            a_beat_keeps_the_session,
            a_beat_proves_no_more_than_when_it_was_sent,
            an_opening_proves_no_more_than_when_it_was_sent,
            a_beat_tells_which_claims_stand_no_more,
            a_beat_tells_which_memberships_stand_no_more,
        }
        steps_groups [Groups] {
            a_group_is_created_once,
            a_group_is_deleted_when_empty,
            groups_are_listed_exactly,
            joining_needs_a_group,
            joining_again_is_the_same_membership,
            a_live_namesake_is_never_replaced,
            a_lost_predecessor_gives_way,
            leaving_ends_only_ones_own_membership,
            capabilities_are_carried_exactly,
            updating_needs_a_membership,
            no_group_and_no_member_are_two_facts,
            looking_creates_nothing,
            names_of_every_shape_are_groups_and_members,
            a_dead_member_is_gone_and_the_group_stays,
        }
        steps_group_waits [Groups] {
            every_change_of_a_group_stirs,
            a_change_wakes_the_watcher,
            a_group_that_appears_stirs,
            a_deleted_group_stirs,
            a_dead_member_stirs,
            a_wait_for_a_group_ends_with_the_session,
            a_replaced_member_is_told,
        }
        steps_topics [Topics] {
            a_message_is_fetched_as_it_was_published,
            offsets_count_without_gaps_in_one_incarnation,
            a_repeated_publish_is_the_same_message,
            a_copy_of_a_publish_long_after_adds_nothing,
            a_fetch_goes_on_after_an_offset,
            a_fetch_brings_no_more_than_its_limit,
            everybody_sees_the_same_order,
            payloads_of_every_size_are_carried_exactly,
            a_body_beyond_the_limit_is_refused,
            names_of_every_shape_are_channels_of_their_own,
            senders_of_every_shape_are_shown_exactly,
            a_message_outlives_whoever_published_it,
            a_look_at_nothing_makes_nothing,
            an_offset_of_another_incarnation_is_answered_from_the_beginning,
        }
        steps_trim [Topics] {
            the_newest_are_retained_by_count,
            the_old_are_let_go_of_by_age,
            what_is_within_the_retention_stays,
            numbers_go_on_after_everything_is_gone,
            a_copy_of_a_trimmed_message_does_not_bring_it_back,
        }
        steps_topic_waits [Topics] {
            every_message_stirs,
            a_message_wakes_the_subscriber,
            the_first_message_of_all_wakes_the_subscriber,
            a_wait_for_messages_ends_with_the_session,
            a_wait_for_messages_may_be_dropped,
            nothing_new_wakes_nobody,
        }
        steps_model [Locks, Fifo] {
            the_driver_agrees_with_the_reference,
        }
        steps_profile [] {
            facets_are_there_as_declared,
            shared_claims_are_refused_where_undeclared,
            errors_say_whether_the_store_changed,
        }
    }
    api {
        api_locks [Locks] {
            a_lock_is_held_until_released,
            a_try_on_a_held_lock_is_none,
            a_wait_that_runs_out_is_none,
            a_waiter_gets_the_lock_on_release,
            tasks_of_one_coordinator_exclude_each_other,
            a_dropped_guard_gives_the_lock_back,
            a_try_right_after_a_drop_succeeds,
            a_guard_goes_anywhere,
            a_panic_or_abort_gives_the_lock_back,
            a_broken_lock_is_lost,
            a_lost_guard_does_not_hit_the_next_holder,
            a_detached_lock_stays_held,
            a_cancelled_acquire_gives_up_its_place,
            names_of_every_shape_are_locks_of_their_own,
            a_view_follows_the_queue,
            work_runs_under_the_lock,
            work_is_cancelled_when_the_lock_is_lost,
        }
        api_order [Locks, Fifo] {
            first_come_first_served,
        }
        api_shared [Locks, Shared, Fifo] {
            readers_share_and_writers_wait,
            shared_guards_of_one_coordinator_are_two,
        }
        api_close [Locks] {
            closing_gives_everything_back,
            closing_ends_what_waits,
            dropping_the_last_handle_orphans_the_session,
            any_handle_keeps_the_session,
            a_scope_closes_on_every_way_out,
            coordinators_come_and_go,
        }
        api_groups [Groups] {
            groups_are_created_and_deleted,
            members_join_update_and_leave,
            a_member_id_joins_once,
            dropping_a_membership_leaves,
            a_join_right_after_a_drop_succeeds,
            a_watch_tells_joins_updates_and_leaves,
            views_are_level_triggered,
            impossible_wishes_are_refused,
            names_of_every_shape_are_groups_of_their_own,
        }
        api_partitions [Groups] {
            members_agree_on_every_key,
            a_join_moves_only_what_it_takes,
            the_keys_of_a_dead_member_move_to_the_living,
            weights_are_followed_and_bounded,
            changes_are_level_triggered,
            joining_makes_the_group_and_leaving_empties_it,
        }
        api_elections [Locks] {
            a_leader_campaigns_proclaims_and_resigns,
            one_leads_and_the_next_follows,
            an_observer_sees_vacancy_and_growing_terms,
            a_closed_leader_leads_no_more,
            elections_and_locks_of_one_name_are_apart,
            a_value_beyond_the_limit_is_refused,
        }
        api_topics [Topics] {
            a_subscriber_gets_what_is_published,
            a_subscription_begins_where_it_is_told,
            a_message_sent_again_is_still_one,
            everybody_reads_the_same_order,
            a_slow_reader_is_told_how_much_it_missed,
            another_incarnation_is_a_reset,
            a_topic_goes_on_for_the_next_process,
            payloads_up_to_a_mebibyte_are_carried,
            names_of_every_shape_are_topics_of_their_own,
            an_idle_subscriber_costs_no_requests,
            a_subscription_is_a_stream_that_ends_with_the_coordinator,
            a_subscription_does_not_keep_the_session,
            reading_cut_anywhere_loses_nothing,
            publishing_cut_anywhere_makes_one_message_or_none,
            a_cut_off_subscriber_catches_up,
        }
        api_mail [Topics, Groups] {
            letters_reach_their_member_and_tell_the_sender,
            an_inbox_keeps_what_came_before,
            what_is_broadcast_reaches_everybody_in_the_group,
            groups_and_topics_of_one_name_are_apart,
            a_request_is_answered,
            a_request_that_nobody_answers_is_none,
            a_late_answer_is_not_taken_for_the_next_one,
        }
        api_topic_recovery [Lease, Topics] {
            subscriptions_resume_in_the_next_session,
        }
        api_recovery [Lease, Locks, Groups] {
            a_lock_is_lost_with_its_session,
            a_waiting_acquire_survives_its_session,
            a_membership_comes_back,
            a_candidate_campaigns_again,
            views_resume,
            a_holder_that_is_cut_off_stops_claiming_first,
            a_short_cut_is_no_loss,
        }
        api_cancel [Locks] {
            an_acquire_cut_anywhere_leaves_nothing,
            a_try_cut_anywhere_leaves_nothing,
            a_waiting_acquire_cut_anywhere_leaves_the_queue,
            an_acquire_cut_during_the_hand_over_passes_it_on,
            a_limited_acquire_cut_anywhere_leaves_nothing,
            a_release_cut_anywhere_goes_on,
            work_cut_anywhere_gives_the_lock_back,
            a_campaign_cut_anywhere_leaves_the_seat_vacant,
            a_connect_cut_anywhere_leaves_no_session,
            a_close_cut_anywhere_goes_on,
        }
        api_cancel_groups [Locks, Groups] {
            a_join_cut_anywhere_leaves_no_member,
            a_leave_cut_anywhere_goes_on,
            looks_cut_anywhere_disturb_nothing,
        }
        api_profile [] {
            undeclared_facets_are_refused,
            requirements_are_checked_when_connecting,
            unknown_options_are_refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_shape_differ() {
        let mut all = names();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn no_case_is_declared_twice() {
        let mut all: Vec<_> = CASES.iter().map(|case| case.name).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
