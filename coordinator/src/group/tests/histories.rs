//! Random histories of members that join, sync, fall silent, restart, leave and commit, over a log that is slow and fails.
//! After every step the invariants hold, and at the end a replay of the log knows what memory knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::super::*;
use super::stage::Stage;

#[derive(Clone, Debug)]
enum Act {
    Join {
        who: usize,
        known: bool,
        protocols: usize,
    },
    Sync {
        who: usize,
        stale: bool,
    },
    Heartbeat {
        who: usize,
    },
    Leave {
        who: usize,
    },
    Commit {
        who: usize,
        transactional: bool,
    },
    EndTransaction {
        commits: bool,
    },
    Wait {
        ms: i64,
    },
    Hold,
    Store,
    Fail {
        mode: usize,
    },
    Delete,
    Reload,
    /// The first `members` do what good clients do: join twice, wait, sync.
    Settle {
        members: usize,
    },
}

/// Four dynamic members and two static ones, of which each may run twice.
const WHO: usize = 6;

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..WHO, any::<bool>(), 0..3usize).prop_map(|(who, known, protocols)| Act::Join { who, known, protocols }),
        8 => (0..WHO, prop::bool::weighted(0.1)).prop_map(|(who, stale)| Act::Sync { who, stale }),
        4 => (0..WHO).prop_map(|who| Act::Heartbeat { who }),
        2 => (0..WHO).prop_map(|who| Act::Leave { who }),
        4 => (0..WHO, any::<bool>()).prop_map(|(who, transactional)| Act::Commit { who, transactional }),
        3 => any::<bool>().prop_map(|commits| Act::EndTransaction { commits }),
        6 => (0..4_000i64).prop_map(|ms| Act::Wait { ms }),
        1 => (8_000..400_000i64).prop_map(|ms| Act::Wait { ms }),
        1 => Just(Act::Hold),
        3 => Just(Act::Store),
        1 => (0..5usize).prop_map(|mode| Act::Fail { mode }),
        4 => (1..=WHO).prop_map(|members| Act::Settle { members }),
        1 => Just(Act::Delete),
        1 => Just(Act::Reload),
    ]
}

fn simple_acts(act: &Act) -> Vec<Act> {
    let Act::Settle { members } = act else {
        return vec![act.clone()];
    };
    let join = |who| Act::Join {
        who,
        known: true,
        protocols: 0,
    };
    let joins = (0..*members).map(join);
    let wait = [Act::Wait { ms: 1_000 }, Act::Wait { ms: 1_000 }];
    let syncs = (0..*members).map(|who| Act::Sync { who, stale: false });
    joins.clone().chain(joins).chain(wait).chain(syncs).collect()
}

/// What the clients remember of the answers they had.
#[derive(Default)]
struct Clients {
    ids: BTreeMap<usize, Arc<str>>,
    tickets: BTreeMap<Ticket, usize>,
    answers: usize,
    generation: i32,
    /// Members of each generation that had an answer to their join.
    joined: BTreeMap<i32, BTreeSet<Arc<str>>>,
    leaders: BTreeMap<i32, BTreeSet<Arc<str>>>,
    /// Since the last transaction ended.
    commit_failed: bool,
}

impl Clients {
    /// The group begins anew.
    fn forget_generations(&mut self) {
        self.generation = 0;
        self.joined.clear();
        self.leaders.clear();
    }
}

fn is_failed_commit(effect: &Effect) -> bool {
    matches!(effect, Effect::Committed(_, answer) if answer.iter().any(|(_, error)| error.is_some()))
}

fn name(who: usize) -> &'static str {
    ["a", "b", "c", "d", "s", "t"][who]
}

fn run(stage: &mut Stage, clients: &mut Clients, act: &Act) {
    let id = |who: &usize| clients.ids.get(who).cloned().unwrap_or_else(|| "".into());
    let instance = |who: &usize| {
        if *who >= 4 {
            format!("instance=i{}", name(*who))
        } else {
            String::new()
        }
    };
    let generation = |stage: &Stage| stage.groups.all().next().map_or(0, |group| group.generation_id);
    let (command, who) = match act {
        Act::Join { who, known, protocols } => {
            let id = if *known { id(who) } else { "".into() };
            let protocols = ["range", "range,sticky", "sticky,range"][*protocols];
            let (client, instance) = (name(*who), instance(who));
            let command = format!(
                "join id={id} client={client} {instance} v=9 protocols={protocols} session=8000 rebalance=12000"
            );
            (command, Some(*who))
        }
        Act::Sync { who, stale } => {
            let assignments: Vec<_> = clients.ids.values().map(|id| format!("{id}:{id}")).collect();
            let assign = if assignments.is_empty() {
                String::new()
            } else {
                format!("assign={}", assignments.join(","))
            };
            let generation = generation(stage) - i32::from(*stale);
            (
                format!("sync id={} {} gen={generation} {assign}", id(who), instance(who)),
                Some(*who),
            )
        }
        Act::Heartbeat { who } => (
            format!("heartbeat id={} {} gen={}", id(who), instance(who), generation(stage)),
            None,
        ),
        Act::Leave { who } => (format!("leave id={} {}", id(who), instance(who)), None),
        Act::Commit { who, transactional } => {
            let producer = if *transactional { "producer=7" } else { "" };
            let offset = stage.log.len();
            let generation = generation(stage);
            (
                format!(
                    "commit id={} {} gen={generation} {producer} t-{who}={offset} t-9={offset}",
                    id(who),
                    instance(who)
                ),
                None,
            )
        }
        Act::EndTransaction { commits } => {
            // A marker comes behind what it ends.
            stage.run("stored");
            // A commit that failed may be in the log all the same: a producer that was told so must abort.
            let failed = core::mem::take(&mut clients.commit_failed) || stage.seen.iter().any(is_failed_commit);
            let end = if *commits && !failed { "commits" } else { "aborts" };
            (format!("transaction {end}"), None)
        }
        Act::Wait { ms } => (format!("at {}", stage.now + ms), None),
        Act::Hold => ("hold".into(), None),
        Act::Store => ("stored".into(), None),
        Act::Fail { mode } => (
            format!("fail {}", ["no", "no", "NotAvailable", "TimedOut", "TooLarge"][*mode]),
            None,
        ),
        Act::Delete => ("delete".into(), None),
        Act::Reload => ("reload".into(), None),
        Act::Settle { .. } => panic!("is made of other acts"),
    };
    stage.run(&command);
    // The ticket of this command is the next one, whether it waits or has been answered.
    if let Some(who) = who {
        clients.tickets.insert(Ticket(stage.last_ticket()), who);
    }
}

/// Every answer is true: one leader, generations grow, an assignment is for a member of the generation.
fn learn(stage: &mut Stage, clients: &mut Clients, act: &Act) {
    // Another coordinator, or another group of the same name, may begin again from what the log has.
    if matches!(act, Act::Reload | Act::Delete) || stage.groups.all().next().is_none() {
        clients.forget_generations();
    }
    for effect in std::mem::take(&mut stage.seen) {
        clients.answers += 1;
        match effect {
            Effect::Joined(ticket, answer) => {
                let who = clients.tickets.remove(&ticket);
                if answer.error.is_none() || answer.error == Some(GroupError::MemberIdRequired) {
                    clients.ids.insert(who.unwrap(), answer.member_id.clone());
                }
                if answer.error.is_some() {
                    continue;
                }
                assert!(answer.generation_id >= clients.generation, "generations grow");
                clients.generation = answer.generation_id;
                clients
                    .joined
                    .entry(answer.generation_id)
                    .or_default()
                    .insert(answer.member_id.clone());
                if !answer.members.is_empty() && !answer.skip_assignment {
                    assert_eq!(
                        answer.leader_id, answer.member_id,
                        "only the leader is told of the members"
                    );
                    assert!(answer.members.iter().any(|member| member.member_id == answer.leader_id));
                    clients
                        .leaders
                        .entry(answer.generation_id)
                        .or_default()
                        .insert(answer.leader_id);
                }
            }
            Effect::Synced(ticket, answer) => {
                let who = clients.tickets.remove(&ticket).unwrap();
                if let Ok(answer) = answer
                    && !answer.assignment.is_empty()
                {
                    // Each assignment carries the id that it was made for; a static member that restarted has another by now.
                    let id = String::from_utf8(answer.assignment.to_vec()).unwrap();
                    let owner = id.split('-').next().unwrap().trim_start_matches('i');
                    assert_eq!(owner, name(who), "an assignment goes to whom it was made for");
                }
            }
            Effect::Append(_, batch) | Effect::AppendLazily(batch) => assert!(!batch.records.is_empty()),
            // Within one act a group may be removed and made again.
            Effect::Note(Note::Removed { .. }) => clients.forget_generations(),
            Effect::Committed(..) => clients.commit_failed |= is_failed_commit(&effect),
            Effect::Note(_) => {}
        }
    }
    for (generation, leaders) in &clients.leaders {
        // A static leader that restarts keeps leading under its new id.
        let names: BTreeSet<_> = leaders
            .iter()
            .map(|id| id.split('-').next().unwrap().to_owned())
            .collect();
        assert!(names.len() <= 1, "one leader in generation {generation}: {leaders:?}");
    }
}

fn invariants(stage: &Stage) {
    for group in stage.groups.all() {
        match &group.leader_id {
            Some(leader) => assert!(group.members.contains_key(leader), "the leader is a member"),
            None => assert!(group.members.is_empty(), "members have a leader"),
        }
        let waiting = group
            .members
            .values()
            .filter(|member| member.awaiting_join.is_some())
            .count();
        assert_eq!(group.awaiting_join, waiting);
        let statics = group
            .members
            .iter()
            .filter_map(|(id, m)| m.group_instance_id.clone().map(|i| (i, id.clone())));
        assert_eq!(
            group.static_members,
            statics.collect::<BTreeMap<_, _>>(),
            "an instance id belongs to one member"
        );
        assert!(group.pending_members.keys().all(|id| !group.members.contains_key(id)));
        assert!(group.pending_sync.iter().all(|id| group.members.contains_key(id)));
        match group.state {
            GroupState::Empty => assert!(group.members.is_empty() && group.pending_sync.is_empty()),
            GroupState::CompletingRebalance | GroupState::Stable => {
                assert!(!group.members.is_empty());
                let protocol = group.protocol_name.as_deref().unwrap();
                assert!(group.members.values().all(|member| member.metadata(protocol).is_some()));
            }
            GroupState::PreparingRebalance => assert!(group.pending_sync.is_empty()),
            GroupState::Dead => panic!("a dead group is kept"),
        }
    }
}

/// Nothing waits for ever: with clients gone and a healthy log, time empties every group and answers every request.
fn everything_ends(stage: &mut Stage) {
    stage.run("fail no");
    stage.run("stored");
    stage.run(&format!("at {}", stage.now + 1_000_000));
    assert!(stage.waiting.is_empty(), "unanswered: {:?}", stage.waiting);
    for group in stage.groups.all() {
        assert!(
            group.members.is_empty() && group.pending_members.is_empty(),
            "{group:?}"
        );
    }
}

fn replay_knows_what_memory_knows(stage: &Stage) {
    let now = Now {
        wall: model::Millis(0),
        steady: model::Millis(stage.now),
    };
    let replayed = stage.replayed().finish(stage.config.clone(), now);
    for group in stage.groups.all() {
        let again = replayed.fetch_all_offsets(&group.id, true);
        assert_eq!(
            stage.groups.fetch_all_offsets(&group.id, true),
            again,
            "offsets of {}",
            group.id
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, max_shrink_iters: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_in_every_history(acts in prop::collection::vec(act(), 1..80), max_size in 2..8usize) {
        let mut stage = Stage::new();
        stage.run(&format!("config delay=1000 max-size={max_size} retention=100000000"));
        let mut clients = Clients::default();
        let mut lost_for_good = false;
        for act in &acts {
            for act in &simple_acts(act) {
                run(&mut stage, &mut clients, act);
                learn(&mut stage, &mut clients, act);
                invariants(&stage);
            }
            // What was held while another coordinator took over is never stored; a real log may have it.
            lost_for_good |= matches!(act, Act::Reload);
        }
        everything_ends(&mut stage);
        if !lost_for_good {
            replay_knows_what_memory_knows(&stage);
        }
    }
}
