//! The two ends of a bench: they keep every message that reaches them.

use super::Answer;
use crate::message::Msg;
use crate::prelude::*;

/// What an end has seen.
#[derive(Default)]
pub(super) struct End {
    pub seen: Vec<Msg>,
    pub answer: Option<Answer>,
}

impl End {
    /// Takes the first message that fits.
    pub fn take(&mut self, fits: impl Fn(&Msg) -> bool) -> Option<Msg> {
        let at = self.seen.iter().position(fits)?;
        Some(self.seen.remove(at))
    }

    /// Keeps a message; what is to be answered.
    fn keep(&mut self, mp: Msg) -> Option<Msg> {
        let answer = self.answer.as_mut().and_then(|f| f(&mp));
        self.seen.push(mp);
        answer
    }
}

/// The upper end. Its service procedures make it the end of flow control.
#[derive(Default)]
pub(super) struct Top(pub End);
/// The lower end.
#[derive(Default)]
pub(super) struct Bottom(pub End);

impl Module for Top {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(1, "top");
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(keep_above).srv(|_| {});
    const WRITE: QInit<Self> = QInit::put(|q, mp| q.putnext(mp)).srv(|_| {});

    fn open(_: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_push()?;
        Ok(Top::default())
    }
}

impl Module for Bottom {
    type Shared = ();
    const INFO: ModuleInfo = ModuleInfo::named(2, "bottom");
    const PERIMETER: Perimeter = Perimeter::MTSAFE;
    const READ: QInit<Self> = QInit::put(|q, mp| q.putnext(mp)).srv(|_| {});
    const WRITE: QInit<Self> = QInit::put(keep_below).srv(|_| {});

    fn open(_: &mut Queue<'_, Self>, how: &mut Open) -> Result<Self, Errno> {
        how.require_device()?;
        Ok(Bottom::default())
    }
}

fn keep_above(q: &mut Queue<'_, Top>, mp: Msg) {
    if let Some(answer) = q.ptr().0.keep(mp) {
        q.qreply(answer);
    }
}

fn keep_below(q: &mut Queue<'_, Bottom>, mp: Msg) {
    if let Some(answer) = q.ptr().0.keep(mp) {
        q.qreply(answer);
    }
}
