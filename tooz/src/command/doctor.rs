//! `tooz doctor`: what the store offers, how fast it answers, what to worry about.

use std::time::Duration;

use serde_json::{Value, json};
use tooz::backend::{Liveness, OptionKind, Profile};
use tooz::endpoint::COMMON_OPTIONS;
use tooz::{Coordinator, Endpoint};

use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;
use super::output::plain;

/// How many round trips are measured.
const TRIPS: usize = 9;

pub(crate) async fn run(context: &Context) -> Result<Exit, Failure> {
    let findings = context.briefly(async |coord| examine(coord).await).await?;
    context.out.say(findings.human(), &findings.machine())?;
    Ok(Exit::Done)
}

struct Findings {
    endpoint: String,
    member: String,
    profile: Profile,
    margin: Duration,
    /// Sorted.
    trips: Vec<Duration>,
    settings: Vec<Setting>,
}

/// One option of the URL.
struct Setting {
    name: &'static str,
    value: Option<String>,
    help: &'static str,
}

async fn examine(coord: &Coordinator) -> Result<Findings, Failure> {
    let mut trips = Vec::with_capacity(TRIPS);
    for _ in 0..TRIPS {
        trips.push(coord.round_trip().await?);
    }
    trips.sort();
    Ok(Findings {
        endpoint: coord.endpoint().to_string(),
        member: coord.member().to_string(),
        profile: coord.profile().clone(),
        margin: coord.margin(),
        trips,
        settings: settings(coord.endpoint())?,
    })
}

fn settings(endpoint: &Endpoint) -> Result<Vec<Setting>, Failure> {
    let driver = tooz::registry().find(endpoint)?;
    let known = driver.options().iter().chain(COMMON_OPTIONS);
    let told = known.map(|spec| {
        let value = endpoint.text(spec.name).map(|value| match spec.kind {
            OptionKind::Secret => "***".to_owned(),
            OptionKind::Texts => endpoint.texts(spec.name).collect::<Vec<_>>().join(", "),
            _ => value.to_owned(),
        });
        Setting { name: spec.name, value, help: spec.help }
    });
    Ok(told.collect())
}

impl Findings {
    fn quickest(&self) -> Duration {
        self.trips.first().copied().unwrap_or_default()
    }

    fn median(&self) -> Duration {
        self.trips.get(self.trips.len() / 2).copied().unwrap_or_default()
    }

    fn slowest(&self) -> Duration {
        self.trips.last().copied().unwrap_or_default()
    }

    fn human(&self) -> String {
        let mut lines = vec![
            format!("store        {} at {}", self.profile.store, self.endpoint),
            format!("server       {}", plain(self.profile.server.as_deref().unwrap_or("none"))),
            format!("member       {}", self.member),
            format!("liveness     {}", liveness(self.profile.liveness)),
            format!("margin       {:?} before the store, guards give up", self.margin),
            format!(
                "round trip   {:?} (median of {TRIPS}; {:?} to {:?})",
                self.median(),
                self.quickest(),
                self.slowest()
            ),
        ];
        lines.push(match &self.profile.locks {
            None => "locks        none".to_owned(),
            Some(locks) => format!(
                "locks        fencing {:?}, fairness {:?}, shared {}, wake-up {:?}, notice within {:?}",
                locks.fencing,
                locks.fairness,
                if locks.shared { "yes" } else { "no" },
                locks.wake_up,
                locks.notice
            ),
        });
        lines.push(match &self.profile.groups {
            None => "groups       none".to_owned(),
            Some(groups) => format!("groups       wake-up {:?}", groups.wake_up),
        });
        lines.push(match &self.profile.topics {
            None => "topics       none".to_owned(),
            Some(topics) => format!(
                "topics       wake-up {:?}, messages of up to {} bytes{}",
                topics.wake_up,
                topics.largest_body.min(tooz::MAX_PAYLOAD_BYTES),
                topics.advice.map(|advice| format!("; {advice}")).unwrap_or_default()
            ),
        });
        for Setting { name, value, help } in &self.settings {
            let value = value.as_ref().map_or_else(|| "default".to_owned(), |value| plain(value));
            lines.push(format!("option       {name} = {value} ({help})"));
        }
        for warning in &self.profile.warnings {
            lines.push(format!("warning      {}", plain(warning)));
        }
        if self.profile.warnings.is_empty() {
            lines.push("warnings     none".to_owned());
        }
        lines.join("\n")
    }

    fn machine(&self) -> Value {
        let ttl = match self.profile.liveness {
            Liveness::Kernel => None,
            Liveness::Lease(ttl) => Some(ttl.as_secs_f64()),
        };
        let options: serde_json::Map<_, _> =
            self.settings.iter().map(|it| (it.name.to_owned(), json!(it.value))).collect();
        json!({
            "store": self.profile.store,
            "url": self.endpoint,
            "server": self.profile.server,
            "member": self.member,
            "granted_ttl": ttl,
            "margin": self.margin.as_secs_f64(),
            "round_trip": {
                "min": self.quickest().as_secs_f64(),
                "median": self.median().as_secs_f64(),
                "max": self.slowest().as_secs_f64(),
                "count": self.trips.len(),
            },
            "locks": self.profile.locks.as_ref().map(|locks| json!({
                "fencing": format!("{:?}", locks.fencing),
                "fairness": format!("{:?}", locks.fairness),
                "shared": locks.shared,
                "wake_up": format!("{:?}", locks.wake_up),
                "notice": locks.notice.as_secs_f64(),
            })),
            "groups": self.profile.groups.as_ref().map(|groups| json!({
                "wake_up": format!("{:?}", groups.wake_up),
            })),
            "topics": self.profile.topics.as_ref().map(|topics| json!({
                "wake_up": format!("{:?}", topics.wake_up),
                "largest_message": topics.largest_body.min(tooz::MAX_PAYLOAD_BYTES),
                "advice": topics.advice,
            })),
            "options": options,
            "warnings": self.profile.warnings,
        })
    }
}

fn liveness(liveness: Liveness) -> String {
    match liveness {
        Liveness::Kernel => "the kernel, until the process ends; no heartbeat".to_owned(),
        Liveness::Lease(ttl) => format!("a lease of {ttl:?} as granted, renewed every third of it"),
    }
}
