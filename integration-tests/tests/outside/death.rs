//! The death certificate: what is dead is out of ZooKeeper at once, and what lives stays in.
//!
//! Sessions are long here, so that nothing goes by itself while a test looks.

use integration_tests::{Broker, BrokerSetup, Coordinator, Scene, Znodes, eventually, is_reference};
use rustix::process::{Pid, Signal, kill_process};
use std::time::{Duration, Instant};

const SESSION_TIMEOUT_MS: &str = "20000";
/// What is promised; a machine with two busy cores may need more, and a session timeout is far more.
const PROMISED: Duration = Duration::from_millis(100);
const BUSY: Duration = Duration::from_millis(1500);

fn scene(name: &str) -> Option<Scene> {
    // Kafka waits for the session timeout.
    (!is_reference()).then(|| Scene::new(name))
}

fn setup(scene: &Scene, id: u32) -> BrokerSetup {
    scene.broker(id).set("zookeeper.session.timeout.ms", SESSION_TIMEOUT_MS)
}

fn znodes(scene: &Scene) -> Znodes {
    eventually(10, "ZooKeeper answers", || {
        Znodes::open(scene.zookeeper_connect()).map_err(|e| e.to_string())
    })
}

fn owner(znodes: &mut Znodes, path: &str) -> Option<i64> {
    znodes.exists(path).expect("ZooKeeper answers").map(|znode| znode.owner)
}

/// How long after `death` the last of `paths` is gone.
fn until_gone(znodes: &mut Znodes, paths: &[String], death: Instant) -> Duration {
    loop {
        let left: Vec<&String> = paths.iter().filter(|path| owner(znodes, path).is_some()).collect();
        let passed = death.elapsed();
        if left.is_empty() {
            return passed;
        }
        assert!(passed < Duration::from_secs(10), "still there: {left:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn paths_of_broker(id: u32) -> Vec<String> {
    vec![format!("/brokers/ids/{id}"), format!("/cluster/ottla/brokers/{id}")]
}

/// Waits until `/controller` is held by this id.
fn wait_for_controller(znodes: &mut Znodes, id: u32) {
    let wanted = format!(r#""brokerid":{id},"#);
    eventually(20, "the controller is elected", || {
        let found = znodes.get("/controller").map_err(|e| e.to_string())?;
        match found {
            Some(znode) if znode.data.contains(&wanted) => Ok(()),
            other => Err(format!("{:?}", other.map(|znode| znode.data))),
        }
    });
}

/// The children of a process that are alive, with their names.
fn children(pid: u32) -> Vec<(u32, String)> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let ids: Vec<u32> = lists
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|id| id.parse().ok())
                .collect::<Vec<u32>>()
        })
        .collect();
    ids.into_iter()
        .filter_map(|id| {
            Some((
                id,
                std::fs::read_to_string(format!("/proc/{id}/comm"))
                    .ok()?
                    .trim()
                    .to_owned(),
            ))
        })
        .collect()
}

/// The guardian of a program, once it has one that says so.
fn guardian_of(pid: u32) -> u32 {
    eventually(10, "the program has a guardian", || {
        let children = children(pid);
        let guardian = children.iter().find(|(_, name)| name == "ottla-guardian");
        guardian.map(|(id, _)| *id).ok_or_else(|| format!("{children:?}"))
    })
}

fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("the process can be signalled");
}

fn runs(pid: u32) -> bool {
    // A zombie has no memory any more.
    std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| status.contains("VmRSS"))
}

/// Polls the registration for a while; it must be that of the same session all the time.
fn stays(znodes: &mut Znodes, path: &str, owner_expected: Option<i64>, time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        assert_eq!(
            owner(znodes, path),
            owner_expected,
            "{path} after {:?}",
            begin.elapsed()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_killed_broker_is_out_of_zookeeper_within_a_tenth_of_a_second() {
    let Some(scene) = scene("death-kill") else { return };
    let mut broker = setup(&scene, 1).start();
    let mut znodes = znodes(&scene);
    wait_for_controller(&mut znodes, 1);
    let mut paths = paths_of_broker(1);
    paths.push("/controller".to_owned());
    let mut times = Vec::new();
    for _ in 0..5 {
        let guardian = guardian_of(broker.pid());
        broker.kill();
        times.push(until_gone(&mut znodes, &paths, Instant::now()));
        eventually(10, "the guardian ends after its work", || match runs(guardian) {
            false => Ok(()),
            true => Err("it runs".to_owned()),
        });
        // The lock of the directory, the port and the id are free at once.
        broker.start_again();
        wait_for_controller(&mut znodes, 1);
    }
    times.sort();
    println!("registration and /controller are gone {times:?} after kill -9");
    assert!(times[times.len() / 2] < PROMISED, "{times:?}");
    assert!(times[times.len() - 1] < BUSY, "{times:?}");
    assert!(broker.log().contains("broker 1 has died"), "{}", broker.log());
    assert_eq!(znodes.children("/cluster/ottla/sessions").unwrap().len(), 1);
    broker.stop();
    assert!(
        !broker.log().contains("its session was over"),
        "a stop in order needs no certificate"
    );
}

#[test]
fn other_deaths_are_certified_too() {
    let Some(scene) = scene("death-abort") else { return };
    let mut broker = setup(&scene, 1).start();
    let mut znodes = znodes(&scene);
    for signal in [Signal::ABORT, Signal::ILL] {
        broker.signal(signal);
        broker.wait(20);
        let took = until_gone(&mut znodes, &paths_of_broker(1), Instant::now());
        println!("{signal:?}: gone after {took:?}");
        assert!(took < BUSY, "{signal:?}: {took:?}");
        broker.start_again();
    }
    // A second signal ends it at once, without closing the session.
    broker.signal(Signal::STOP);
    broker.signal(Signal::TERM);
    broker.signal(Signal::INT);
    broker.signal(Signal::CONT);
    broker.wait(20);
    assert!(until_gone(&mut znodes, &paths_of_broker(1), Instant::now()) < BUSY);
}

#[test]
fn what_is_only_paused_is_never_declared_dead() {
    let Some(scene) = scene("death-pause") else { return };
    let mut broker = setup(&scene, 1).start();
    let mut znodes = znodes(&scene);
    let session = owner(&mut znodes, "/brokers/ids/1");
    assert!(session.is_some());
    let guardian = guardian_of(broker.pid());
    broker.signal(Signal::STOP);
    // Supervisors send these to all processes of a service.
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        send(guardian, signal);
    }
    stays(&mut znodes, "/brokers/ids/1", session, Duration::from_secs(3));
    broker.signal(Signal::CONT);
    assert!(runs(guardian), "it is deaf to what ends programs");

    // A guardian that is killed is no death of the broker, and is replaced.
    send(guardian, Signal::KILL);
    stays(&mut znodes, "/brokers/ids/1", session, Duration::from_millis(500));
    let next = guardian_of(broker.pid());
    assert_ne!(next, guardian);
    eventually(10, "the next guardian knows the session", || {
        let all = std::fs::read_dir(format!("/proc/{next}/fd")).map_or(0, Iterator::count);
        if all > 0 { Ok(()) } else { Err(format!("{all}")) }
    });
    std::thread::sleep(Duration::from_millis(300));
    broker.kill();
    let took = until_gone(&mut znodes, &paths_of_broker(1), Instant::now());
    assert!(took < BUSY, "{took:?}");
}

#[test]
fn it_can_be_turned_off() {
    let Some(scene) = scene("death-off") else { return };
    let mut broker = setup(&scene, 1).set("ottla.death.certificate", "false").start();
    let mut znodes = znodes(&scene);
    let session = owner(&mut znodes, "/brokers/ids/1");
    assert_eq!(children(broker.pid()), []);
    broker.kill();
    stays(&mut znodes, "/brokers/ids/1", session, Duration::from_secs(2));
}

#[test]
fn a_late_certificate_does_not_touch_the_next_life() {
    let Some(scene) = scene("death-late") else { return };
    let mut broker = setup(&scene, 1).start();
    let mut znodes = znodes(&scene);
    let first = owner(&mut znodes, "/brokers/ids/1");
    let guardian = guardian_of(broker.pid());
    send(guardian, Signal::STOP);
    broker.kill();
    // It finds the session of its former self, which it knows to be dead, and its locks free.
    broker.start_again();
    wait_for_controller(&mut znodes, 1);
    let second = owner(&mut znodes, "/brokers/ids/1");
    assert!(second.is_some() && second != first, "{first:?} {second:?}");
    send(guardian, Signal::CONT);
    eventually(10, "the late guardian ends", || match runs(guardian) {
        false => Ok(()),
        true => Err("it runs".to_owned()),
    });
    stays(&mut znodes, "/brokers/ids/1", second, Duration::from_millis(500));
    stays(&mut znodes, "/controller", second, Duration::from_millis(100));
    assert!(
        broker.log().contains("its session was over already"),
        "{}",
        broker.log()
    );
    assert!(broker.ended().is_none());
}

#[test]
fn after_an_expiry_the_next_session_is_certified() {
    let Some(scene) = scene("death-expiry") else { return };
    let mut broker = setup(&scene, 1).set("zookeeper.session.timeout.ms", "2000").start();
    let mut znodes = znodes(&scene);
    let first = owner(&mut znodes, "/brokers/ids/1");
    broker.signal(Signal::STOP);
    eventually(20, "its session expires", || {
        match owner(&mut znodes, "/brokers/ids/1") {
            None => Ok(()),
            Some(owner) => Err(format!("{owner:x}")),
        }
    });
    broker.signal(Signal::CONT);
    let second = eventually(20, "it registers again", || {
        owner(&mut znodes, "/brokers/ids/1").ok_or_else(|| "not yet".to_owned())
    });
    assert_ne!(Some(second), first);
    let mark = format!("/cluster/ottla/sessions/0x{second:x}");
    eventually(10, "its guardian is told", || match owner(&mut znodes, &mark) {
        Some(owner) if owner == second => Ok(()),
        other => Err(format!("{other:?}")),
    });
    std::thread::sleep(Duration::from_millis(200));
    broker.kill();
    let took = until_gone(&mut znodes, &paths_of_broker(1), Instant::now());
    assert!(took < BUSY, "{took:?}");
}

#[test]
fn a_certificate_waits_for_zookeeper() {
    if is_reference() {
        return;
    }
    let mut scene = Scene::with_own_zookeeper("death-without-zookeeper");
    let mut broker = setup(&scene, 1).set("zookeeper.session.timeout.ms", "40000").start();
    scene.zookeeper().kill();
    broker.kill();
    std::thread::sleep(Duration::from_secs(2));
    scene.zookeeper().start_again();
    let back = Instant::now();
    let mut znodes = znodes(&scene);
    let took = until_gone(&mut znodes, &paths_of_broker(1), back);
    println!("gone {took:?} after ZooKeeper was back");
    broker.start_again();
}

#[test]
fn a_guardian_holds_nothing_of_its_program() {
    let Some(scene) = scene("death-hygiene") else { return };
    let broker = setup(&scene, 1).start();
    // The first one is started before the listeners are bound; the next one after everything is open.
    let first = guardian_of(broker.pid());
    send(first, Signal::KILL);
    let second = eventually(10, "there is another guardian", || match guardian_of(broker.pid()) {
        id if id == first => Err("the first".to_owned()),
        id => Ok(id),
    });
    let data = broker.data().display().to_string();
    let open: Vec<String> = std::fs::read_dir(format!("/proc/{second}/fd"))
        .unwrap()
        .flatten()
        .filter_map(|entry| Some(std::fs::read_link(entry.path()).ok()?.display().to_string()))
        .collect();
    assert!(open.iter().all(|file| !file.starts_with(&data)), "{open:?}");
    assert!(open.iter().any(|file| file.contains("[pidfd]")), "{open:?}");
    // Its signal handlers and its runtime have pairs of sockets of their own; none listens or is connected elsewhere.
    let sockets: Vec<&str> = open
        .iter()
        .filter_map(|file| file.strip_prefix("socket:[")?.strip_suffix(']'))
        .collect();
    let tcp =
        ["tcp", "tcp6"].map(|table| std::fs::read_to_string(format!("/proc/{second}/net/{table}")).unwrap_or_default());
    for socket in sockets {
        assert!(
            !tcp.iter()
                .flat_map(|table| table.lines())
                .any(|line| line.split_whitespace().nth(9) == Some(socket)),
            "it holds TCP socket {socket}"
        );
    }
    let status = std::fs::read_to_string(format!("/proc/{second}/status")).unwrap();
    let anonymous = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .expect("RssAnon in KiB");
    println!("a waiting guardian has {anonymous} KiB of its own");
    assert!(anonymous < 4096, "{anonymous} KiB");
}

#[test]
fn a_dead_coordinator_is_out_of_office_at_once() {
    let Some(scene) = scene("death-coordinator") else {
        return;
    };
    let mut broker = setup(&scene, 1).start();
    let configs = [("zookeeper.session.timeout.ms", SESSION_TIMEOUT_MS)];
    let mut coordinator = Coordinator::start(&scene, 100_001, &configs);
    coordinator.wait_until_announced(&scene);
    let mut znodes = znodes(&scene);
    broker.stop();
    wait_for_controller(&mut znodes, 100_001);
    broker.start_again();
    wait_for_controller(&mut znodes, 100_001);
    let session = owner(&mut znodes, "/controller");

    coordinator.signal(Signal::STOP);
    stays(&mut znodes, "/controller", session, Duration::from_secs(1));
    coordinator.signal(Signal::CONT);

    coordinator.kill();
    let death = Instant::now();
    let took = until_gone(&mut znodes, &["/cluster/ottla/coordinators/100001".to_owned()], death);
    wait_for_controller(&mut znodes, 1);
    println!(
        "its registration is gone after {took:?}; a broker is in office after {:?}",
        death.elapsed()
    );
    assert!(took < BUSY, "{took:?}");
    coordinator.start_again();
    coordinator.wait_until_announced(&scene);
    coordinator.stop();
}

/// Words that make the next program process 1 of a container, as far as processes are concerned.
const CONTAINER: [&str; 5] = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// Process 1 of the container that `unshare` has started, and the broker itself in it.
fn inside(unshare: u32) -> (u32, u32) {
    let init = children(unshare).first().expect("unshare has one child").0;
    let broker = children(init).first().expect("process 1 has started the broker").0;
    (init, broker)
}

fn containers_can_be_made() -> bool {
    let made = std::process::Command::new(CONTAINER[0])
        .args(&CONTAINER[1..])
        .arg("true")
        .output();
    let made = made.is_ok_and(|output| output.status.success());
    if !made {
        println!("skipped: no process namespaces here");
    }
    made
}

fn in_a_container(scene: &Scene) -> Broker {
    setup(scene, 1).under(&CONTAINER).start()
}

#[test]
fn process_1_of_a_container_has_a_guardian_that_outlives_the_broker() {
    let Some(scene) = scene("death-container") else { return };
    if !containers_can_be_made() {
        return;
    }
    let mut unshare = in_a_container(&scene);
    let mut znodes = znodes(&scene);
    wait_for_controller(&mut znodes, 1);
    let (_, broker) = inside(unshare.pid());
    assert_eq!(
        std::fs::read_to_string(format!("/proc/{broker}/comm")).unwrap(),
        "broker\n"
    );
    guardian_of(broker);
    send(broker, Signal::KILL);
    let death = Instant::now();
    let mut paths = paths_of_broker(1);
    paths.push("/controller".to_owned());
    let took = until_gone(&mut znodes, &paths, death);
    println!("in a container: gone after {took:?}");
    assert!(took < BUSY, "{took:?}");
    assert_eq!(unshare.wait(10).code(), Some(137), "{}", unshare.log());

    // A signal is passed on, and its status comes back.
    unshare.start_again();
    let (init, _) = inside(unshare.pid());
    send(init, Signal::TERM);
    assert_eq!(unshare.wait(30).code(), Some(0), "{}", unshare.log());
    assert!(unshare.log().contains("shut down completed"));
    assert_eq!(owner(&mut znodes, "/brokers/ids/1"), None);
}
