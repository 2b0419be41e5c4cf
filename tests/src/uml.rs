//! A guest: the Linux kernel of Debian's package user-mode-linux, as a process of ours.
//!
//! ```text
//!   [host's namespace]  w0 (TAP) ════ eth0  [guest]   ipip, gre and sit are its modules
//!                     console ◄── a line: a command    tests/interop/init runs first
//!                             ──► what it prints, "status N"
//! ```
//!
//! It needs no privilege but the namespace's, starts in two seconds and ends with us. Its
//! files are this machine's, read only.
//!
//! Spec: Documentation/virt/uml/user_mode_linux_howto_v2.rst.

use std::io::Write;
use std::path::Path;
use std::process::ChildStdin;
use std::time::Duration;

use crate::netns::{Host, Running};

/// The kernel.
pub const KERNEL: &str = "linux.uml";
/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// A process that runs the lines we say, and says after each `status N`: a guest, or a
/// shell.
pub struct Console {
    name: String,
    running: Option<Running>,
    say: Option<ChildStdin>,
}

impl Console {
    /// Waits until the process has said `ready`.
    ///
    /// # Panics
    /// If it ends before, with what it said.
    #[track_caller]
    pub fn new(name: &str, mut running: Running, ready: &str) -> Console {
        running.wait_line(ready, PATIENCE);
        let say = running.stdin();
        Console {
            name: name.into(),
            running: Some(running),
            say,
        }
    }

    /// Runs a line: its status and what it printed.
    ///
    /// # Panics
    /// If the process ends.
    #[track_caller]
    pub fn run(&mut self, line: &str) -> (i32, String) {
        let say = self.say.as_mut().expect("its input");
        writeln!(say, "{line}").expect("it listens");
        let running = self.running.as_mut().expect("it runs until it is dropped");
        let lines = running.lines_to("status ", PATIENCE);
        let (status, said) = lines.split_last().expect("a status");
        let status = status.trim().trim_start_matches("status ").parse();
        (status.unwrap_or(-1), said.join("\n"))
    }

    /// Runs a line that must succeed: what it printed.
    ///
    /// # Panics
    /// If it fails, with what it said.
    #[track_caller]
    pub fn ok(&mut self, line: &str) -> String {
        let (status, said) = self.run(line);
        assert!(
            status == 0,
            "{}: {line}: status {status}\n{said}",
            self.name
        );
        said
    }
}

/// Boots a guest in the host's namespace; its eth0 is the host's TAP device.
///
/// # Panics
/// If it does not come up, with what it said.
#[track_caller]
pub fn boot(host: &Host, tap: &str, init: &Path) -> Console {
    let init = format!("init={}", init.display());
    let eth = format!("eth0=tuntap,{tap},02:00:00:00:00:02");
    let running = host.spawn([
        "timeout",
        "900",
        KERNEL,
        "mem=96M",
        "quiet",
        "rootfstype=hostfs",
        "root=/dev/root",
        "hostfs=/",
        "ro",
        "con=null",
        "con0=fd:0,fd:1",
        &eth,
        &init,
    ]);
    Console::new("guest", running, "guest ")
}

impl Drop for Console {
    fn drop(&mut self) {
        // A guest that reads the end (Ctrl-D) powers off, and its helpers end with it.
        if let Some(mut say) = self.say.take() {
            let _ = say.write_all(b"\x04"); // it may have ended already
        }
        if let Some(mut r) = self.running.take() {
            if !r.ends_within(Duration::from_secs(30)) {
                eprintln!("{} has to be told to end", self.name);
                r.terminate();
            }
            let _ = r.finish();
        }
    }
}
