//! The program on this machine's devices: `examples/mobile-ip-taps.sh`, whose three daemons
//! are on TAP devices and are pinged by this machine while the mobile node is carried about.
//! RFC 5944 1.7, 4.6.

use std::path::Path;
use std::process::Command;

#[test]
fn a_node_on_a_tap_device_is_carried_to_another_bridge_and_back() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let out = Command::new("bash")
        .arg(top.join("examples/mobile-ip-taps.sh"))
        .env("MIPAGENT", env!("CARGO_BIN_EXE_mipagent"))
        .output()
        .expect("bash");
    let text = String::from_utf8_lossy(&out.stdout);
    if let Some(why) = text.lines().find(|l| l.starts_with("SKIPPED")) {
        println!("{why}");
        return;
    }
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{text}{errors}");
    assert!(text.contains("pings reach it there: 5 received"), "{text}");
    assert!(
        text.contains("pings reach it at home: 5 received"),
        "{text}"
    );
}

/// What the program prints and returns (README.md; exit statuses of `--help`).
#[test]
fn statuses_and_messages_of_the_program() {
    let run = |args: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_mipagent"))
            .args(args)
            .output()
            .expect("the program");
        let text = [out.stdout, out.stderr].concat();
        (
            out.status.code(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    };
    let dir = std::env::temp_dir().join(format!("mipagent-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let file = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let wrong = file("wrong.conf", "[Node]\nspeed = 9\n");
    let vt = file("empty.vt", "");
    let agent = file("agent.conf", "[Advertisements le0]\nForeignAgent = no\n");
    let expect = |args: &[&str], status: i32, words: &str| {
        let (got, text) = run(args);
        assert!(
            got == Some(status) && text.contains(words),
            "{args:?}: {got:?} {text}"
        );
    };
    expect(&["--help"], 0, "Exit status:");
    expect(&["man"], 0, ".TH mipagent");
    expect(&[], 2, "Usage");
    expect(&["fly"], 2, "unrecognized");
    expect(&["check", &wrong], 2, "line 2: [node] has no `speed`");
    expect(&["check", &agent], 0, "");
    expect(&["check", "/nowhere.conf"], 3, "No such file");
    expect(&["mobile", "-c", &agent, "-s", &vt], 2, "no section [Node]");
    expect(
        &["foreign", "-c", &agent, "-s", &vt],
        2,
        "ForeignAgent = yes",
    );
    expect(&["home", "-c", &agent, "-s", &vt], 1, "plumbed and up");
    expect(&["agent", "-c", &agent, "-s", &vt], 1, "plumbed and up");
    expect(
        &["agent", "-c", &agent, "-s", "/nowhere.vt"],
        3,
        "/nowhere.vt",
    );
    expect(&["stat", &agent], 1, "no status");
    let json = r#"{"home":{"bindings":[{"mobile_node":"10.1.0.71","care_of":"10.3.0.1",
                  "flags":"B","remaining":null}]},"foreign":null}"#;
    let status = file("status.json", json);
    expect(
        &["stat", &status],
        0,
        "10.1.0.71    10.3.0.1         B      forever",
    );
    std::fs::remove_dir_all(&dir).expect("removed");
}

/// The demo: every byte arrives, and each line of its JSON is an object.
#[test]
fn the_demo() {
    let mut out = Vec::new();
    mipagent::demo::run(&mut mipagent::demo::Print::new(&mut out, true)).expect("the demo");
    let text = String::from_utf8(out).expect("text");
    let read = |l| serde_json::from_str::<serde_json::Value>(l).expect("an object");
    let last = text.lines().map(read).next_back().expect("a line");
    assert_eq!(last["tcp"]["identical"], true);
    assert_eq!(last["udp_in_order"], true);
}
