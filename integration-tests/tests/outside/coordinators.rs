//! The program `coordinator`: the controller's office apart from the brokers.

use integration_tests::{Process, Scene, eventually, free_port, is_reference, kcat_with_input, program};
use rustix::process::Signal;

#[test]
fn a_coordinator_holds_the_office_and_a_broker_takes_over_when_it_is_gone() {
    if is_reference() {
        // Kafka has no such program.
        return;
    }
    let scene = Scene::new("coordinator");
    let properties = scene.directory().join("coordinator.properties");
    let port = free_port();
    let text = format!(
        "zookeeper.connect={}\nzookeeper.session.timeout.ms=6000\ncoordinator.id=100001\nport={port}\n",
        scene.zookeeper_connect()
    );
    std::fs::write(&properties, text).unwrap();
    // A broker makes the roots of the cluster, and is in office until it is told of a coordinator.
    let mut broker = scene.broker(1).start();
    let words = [
        program("coordinator").display().to_string(),
        properties.display().to_string(),
    ];
    let mut coordinator = Process::start("coordinator", &words, &scene.directory().join("coordinator.log"));
    let in_office = |id: u32, what: &str| {
        eventually(30, what, || {
            let out = scene.zookeeper_shell(&["get /controller"]);
            if out.contains(&format!(r#""brokerid":{id},"#)) {
                Ok(())
            } else {
                Err(out)
            }
        });
    };
    eventually(20, "the coordinator has announced itself", || {
        assert!(coordinator.ended().is_none(), "{}", coordinator.log());
        let out = scene.zookeeper_shell(&["ls /cluster/ottla/coordinators"]);
        if out.contains("[100001]") { Ok(()) } else { Err(out) }
    });
    broker.stop();
    in_office(100001, "the coordinator is in office once the broker has gone");
    broker.start_again();
    broker.create_topic("t", 3, &[]);
    kcat_with_input(&["-b", &broker.bootstrap(), "-P", "-t", "t"], b"decided elsewhere\n").succeeds();
    in_office(100001, "the broker leaves the office to the coordinator");
    let terms = coordinator.log().matches("elected as the controller").count();
    assert_eq!(
        terms,
        1,
        "a broker that starts does not unseat it:\n{}",
        coordinator.log()
    );
    let roots = scene.zookeeper_shell(&["ls /", "ls /brokers/ids"]);
    assert!(
        roots.contains("[admin, brokers, cluster, config, consumers, controller, controller_epoch, feature, "),
        "what is ours alone adds nothing to the root: {roots}"
    );
    assert!(roots.contains("[1]"), "it is no broker: {roots}");

    coordinator.signal(Signal::TERM);
    assert_eq!(coordinator.wait(30).code(), Some(0), "{}", coordinator.log());
    in_office(1, "the broker takes over");
    broker.create_topic("after", 1, &[]);
    kcat_with_input(&["-b", &broker.bootstrap(), "-P", "-t", "after"], b"decided here\n").succeeds();
}
