//! Worker threads: interrupts of streams that don't share a domain run side by side.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use streams::prelude::*;
use streams::{Config, Kernel, Sys, Watch, oflag};

/// Long enough for any machine; only a test that fails waits so long.
const LONG: Duration = Duration::from_secs(20);

/// A device whose interrupt tells that it is there and waits until the other's is too.
struct Device {
    line: Option<UnixStream>,
    here: Sender<()>,
    go: Receiver<bool>,
    _watch: Option<Watch>,
}

/// What a device is made of: its line, how it tells, how it is let go.
type Parts = (UnixStream, Sender<()>, Receiver<bool>);

/// The parts of the next device to be opened.
static PARTS: std::sync::Mutex<Vec<Parts>> = std::sync::Mutex::new(Vec::new());

impl Module for Device {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(91, "device");
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp));
    const WRITE: QInit<Self> = QInit::put(|q, mp| q.freemsg(mp));

    fn open(q: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_device()?;
        let (line, here, go) = PARTS
            .lock()
            .map_err(|_| Errno::EIO)?
            .pop()
            .ok_or(Errno::ENXIO)?;
        let watch = q.watch_fd(line.as_fd()).map_err(|_| Errno::EIO)?;
        Ok(Device {
            line: Some(line),
            here,
            go,
            _watch: Some(watch),
        })
    }

    fn interrupt(q: &mut Queue<'_, Self>) {
        use std::io::Read;
        let me = q.ptr();
        let Some(line) = &mut me.line else { return };
        let mut byte = [0];
        if !matches!(line.read(&mut byte), Ok(1)) {
            return; // the ring that a watch begins with
        }
        let _ = me.here.send(());
        let met = matches!(me.go.recv_timeout(LONG), Ok(true));
        q.rd().putnext(Msg::data(&[u8::from(met)]));
    }
}

/// ddi_add_intr(9F): interrupts of different devices are served at the same time, by as
/// many threads as `Config::workers` allows. With one thread the second would wait for the
/// first, which waits for the second.
#[test]
fn two_interrupts_run_at_the_same_time() {
    use std::io::Write;
    let k = Kernel::with_config(Config {
        workers: 2,
        ..Config::default()
    })
    .expect("a kernel");
    k.add_drv::<Device>().expect("a name");
    let p = k.process(Cred::ROOT);
    let (here, arrived) = channel();
    let mut ends = Vec::new();
    for _ in 0..2 {
        let (near, far) = UnixStream::pair().expect("a line");
        near.set_nonblocking(true).expect("a line");
        let (go, gone) = channel();
        PARTS
            .lock()
            .expect("parts")
            .push((near, here.clone(), gone));
        let fd = p.open("/dev/device", oflag::O_RDWR).expect("open");
        ends.push((fd, far, go));
    }
    for (_, far, _) in &mut ends {
        far.write_all(b"!").expect("a line");
    }
    arrived.recv_timeout(LONG).expect("the first interrupt");
    let both = arrived.recv_timeout(LONG).is_ok();
    for (_, _, go) in &ends {
        go.send(both).expect("it listens");
    }
    for (fd, _, _) in &ends {
        assert_eq!(p.read(*fd, 8), Ok(vec![1]), "the interrupts did not meet");
    }
}
