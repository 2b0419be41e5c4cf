//! Which answer a primitive gets in which state: one table, complete.
//!
//! ```text
//!                 ATTACH                 BIND
//!   UNATTACHED ───────────► UNBOUND ───────────► IDLE ◄──► UNITDATA
//!       4      ◄───────────    0    ◄───────────   3
//!                 DETACH                UNBIND
//! ```
//!
//! A style 1 stream starts in UNBOUND. The provider answers each request before it looks
//! at the next, so the pending states are never seen; the table has them as a column all
//! the same, for a provider that waits.
//!
//! Spec: dlpi(7P); Data Link Provider Interface 2.0.0, appendix B (allowable sequence).
//! Kept: wrong state is DL_OUTSTATE and changes nothing; a datagram in the wrong state is
//! a DL_UDERROR_IND; DL_INFO_REQ and DL_GET_STATISTICS_REQ are answered in any state.
//! Differs: none.
//! Not done: connection-oriented and acknowledged service are not offered (DL_UNSUPPORTED);
//! aggregation, capabilities and hardware control are DL_NOTSUPPORTED.

use crate::prim::*;

macro_rules! states {
    ($($(#[$doc:meta])* $name:ident = $num:literal, $text:literal;)*) => {
        /// `dl_current_state`.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[repr(u32)]
        pub enum State { $($(#[$doc])* $name = $num),* }

        impl State {
            /// Every state, in the order of the values.
            pub const ALL: &'static [State] = &[$(State::$name),*];

            /// The name in sys/dlpi.h.
            pub const fn name(self) -> &'static str {
                match self { $(State::$name => $text),* }
            }

            /// The state with this value.
            pub const fn from_value(v: u32) -> Option<State> {
                match v { $($num => Some(State::$name),)* _ => None }
            }
        }
    };
}

states! {
    /// Attached, without a SAP.
    Unbound = 0x00, "DL_UNBOUND";
    /// DL_BIND_REQ is being carried out.
    BindPending = 0x01, "DL_BIND_PENDING";
    /// DL_UNBIND_REQ is being carried out.
    UnbindPending = 0x02, "DL_UNBIND_PENDING";
    /// Bound: datagrams flow.
    Idle = 0x03, "DL_IDLE";
    /// Without a link.
    Unattached = 0x04, "DL_UNATTACHED";
    /// DL_ATTACH_REQ is being carried out.
    AttachPending = 0x05, "DL_ATTACH_PENDING";
    /// DL_DETACH_REQ is being carried out.
    DetachPending = 0x06, "DL_DETACH_PENDING";
    /// DL_UDQOS_REQ is being carried out.
    UdqosPending = 0x07, "DL_UDQOS_PENDING";
    /// Connection oriented.
    OutconPending = 0x08, "DL_OUTCON_PENDING";
    /// Connection oriented.
    InconPending = 0x09, "DL_INCON_PENDING";
    /// Connection oriented.
    ConnResPending = 0x0a, "DL_CONN_RES_PENDING";
    /// Connection oriented.
    Dataxfer = 0x0b, "DL_DATAXFER";
    /// Connection oriented.
    UserResetPending = 0x0c, "DL_USER_RESET_PENDING";
    /// Connection oriented.
    ProvResetPending = 0x0d, "DL_PROV_RESET_PENDING";
    /// Connection oriented.
    ResetResPending = 0x0e, "DL_RESET_RES_PENDING";
    /// Connection oriented.
    Discon8Pending = 0x0f, "DL_DISCON8_PENDING";
    /// Connection oriented.
    Discon9Pending = 0x10, "DL_DISCON9_PENDING";
    /// Connection oriented.
    Discon11Pending = 0x11, "DL_DISCON11_PENDING";
    /// Connection oriented.
    Discon12Pending = 0x12, "DL_DISCON12_PENDING";
    /// Connection oriented.
    Discon13Pending = 0x13, "DL_DISCON13_PENDING";
    /// DL_SUBS_BIND_REQ is being carried out.
    SubsBindPnd = 0x14, "DL_SUBS_BIND_PND";
    /// DL_SUBS_UNBIND_REQ is being carried out.
    SubsUnbindPnd = 0x15, "DL_SUBS_UNBIND_PND";
}

/// What a primitive gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It is carried out; if it succeeds the stream is in this state, else where it was.
    Go(State),
    /// It is carried out and changes no state.
    Do,
    /// DL_ERROR_ACK.
    Nak(DlErrno),
    /// DL_UDERROR_IND.
    UdErr(DlErrno),
}

/// One row: a primitive and its answer in each state.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// `dl_primitive`.
    pub prim: u32,
    /// In DL_UNATTACHED.
    pub unattached: Answer,
    /// In DL_UNBOUND.
    pub unbound: Answer,
    /// In DL_IDLE.
    pub idle: Answer,
    /// In every other state.
    pub pending: Answer,
}

use Answer::{Do, Go, Nak, UdErr};

/// Wrong state.
const OUT: Answer = Nak(DlErrno::OUTSTATE);
/// Wrong state for a datagram.
const UDO: Answer = UdErr(DlErrno::OUTSTATE);
/// An optional primitive that is not implemented, whatever the state.
const OPT: Answer = Nak(DlErrno::NOTSUPPORTED);
/// A service that is not offered, whatever the state.
const SVC: Answer = Nak(DlErrno::UNSUPPORTED);
/// A primitive that only providers send.
const UPW: Answer = Nak(DlErrno::BADPRIM);

const fn row(prim: u32, [unattached, unbound, idle, pending]: [Answer; 4]) -> Row {
    Row {
        prim,
        unattached,
        unbound,
        idle,
        pending,
    }
}

/// Every primitive in every state.
#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    //                            UNATTACHED          UNBOUND                IDLE               pending
    row(DL_INFO_REQ,             [Do,                 Do,                    Do,                Do ]),
    row(DL_ATTACH_REQ,           [Go(State::Unbound), OUT,                   OUT,               OUT]),
    row(DL_DETACH_REQ,           [OUT,                Go(State::Unattached), OUT,               OUT]),
    row(DL_BIND_REQ,             [OUT,                Go(State::Idle),       OUT,               OUT]),
    row(DL_UNBIND_REQ,           [OUT,                OUT,                   Go(State::Unbound), OUT]),
    row(DL_ENABMULTI_REQ,        [OUT,                Do,                    Do,                OUT]),
    row(DL_DISABMULTI_REQ,       [OUT,                Do,                    Do,                OUT]),
    row(DL_PROMISCON_REQ,        [OUT,                Do,                    Do,                OUT]),
    row(DL_PROMISCOFF_REQ,       [OUT,                Do,                    Do,                OUT]),
    row(DL_PHYS_ADDR_REQ,        [OUT,                Do,                    Do,                OUT]),
    row(DL_SET_PHYS_ADDR_REQ,    [OUT,                Do,                    Do,                OUT]),
    row(DL_GET_STATISTICS_REQ,   [Do,                 Do,                    Do,                Do ]),
    row(DL_NOTIFY_REQ,           [OUT,                Do,                    Do,                OUT]),
    row(DL_UNITDATA_REQ,         [UDO,                UDO,                   Do,                UDO]),
    row(DL_UDQOS_REQ,            [OUT,                OUT,                   Do,                OUT]),
    row(DL_SUBS_BIND_REQ,        [OUT,                OUT,                   Do,                OUT]),
    row(DL_SUBS_UNBIND_REQ,      [OUT,                OUT,                   Do,                OUT]),
    row(DL_XID_REQ,              [OUT,                OUT,                   Do,                OUT]),
    row(DL_XID_RES,              [OUT,                OUT,                   Do,                OUT]),
    row(DL_TEST_REQ,             [OUT,                OUT,                   Do,                OUT]),
    row(DL_TEST_RES,             [OUT,                OUT,                   Do,                OUT]),

    row(DL_MONITOR_LINK_LAYER,   [OPT; 4]),
    row(DL_AGGR_REQ,             [OPT; 4]),
    row(DL_UNAGGR_REQ,           [OPT; 4]),
    row(DL_CAPABILITY_REQ,       [OPT; 4]),
    row(DL_CONTROL_REQ,          [OPT; 4]),
    row(DL_PASSIVE_REQ,          [OPT; 4]),
    row(DL_INTR_MODE_REQ,        [OPT; 4]),

    row(DL_CONNECT_REQ,          [SVC; 4]),
    row(DL_CONNECT_RES,          [SVC; 4]),
    row(DL_TOKEN_REQ,            [SVC; 4]),
    row(DL_DISCONNECT_REQ,       [SVC; 4]),
    row(DL_RESET_REQ,            [SVC; 4]),
    row(DL_RESET_RES,            [SVC; 4]),
    row(DL_DATA_ACK_REQ,         [SVC; 4]),
    row(DL_REPLY_REQ,            [SVC; 4]),
    row(DL_REPLY_UPDATE_REQ,     [SVC; 4]),

    row(DL_INFO_ACK,             [UPW; 4]),
    row(DL_BIND_ACK,             [UPW; 4]),
    row(DL_SUBS_BIND_ACK,        [UPW; 4]),
    row(DL_OK_ACK,               [UPW; 4]),
    row(DL_ERROR_ACK,            [UPW; 4]),
    row(DL_PHYS_ADDR_ACK,        [UPW; 4]),
    row(DL_GET_STATISTICS_ACK,   [UPW; 4]),
    row(DL_UNITDATA_IND,         [UPW; 4]),
    row(DL_UDERROR_IND,          [UPW; 4]),
    row(DL_XID_IND,              [UPW; 4]),
    row(DL_XID_CON,              [UPW; 4]),
    row(DL_TEST_IND,             [UPW; 4]),
    row(DL_TEST_CON,             [UPW; 4]),
    row(DL_DATA_ACK_IND,         [UPW; 4]),
    row(DL_DATA_ACK_STATUS_IND,  [UPW; 4]),
    row(DL_REPLY_IND,            [UPW; 4]),
    row(DL_REPLY_STATUS_IND,     [UPW; 4]),
    row(DL_REPLY_UPDATE_STATUS_IND, [UPW; 4]),
    row(DL_CONNECT_IND,          [UPW; 4]),
    row(DL_CONNECT_CON,          [UPW; 4]),
    row(DL_TOKEN_ACK,            [UPW; 4]),
    row(DL_DISCONNECT_IND,       [UPW; 4]),
    row(DL_RESET_IND,            [UPW; 4]),
    row(DL_RESET_CON,            [UPW; 4]),
    row(DL_NOTIFY_ACK,           [UPW; 4]),
    row(DL_NOTIFY_IND,           [UPW; 4]),
    row(DL_AGGR_IND,             [UPW; 4]),
    row(DL_CAPABILITY_ACK,       [UPW; 4]),
    row(DL_CONTROL_ACK,          [UPW; 4]),
];

/// What primitive `number` gets in `state`; a number without a row is DL_BADPRIM.
pub fn answer(state: State, number: u32) -> Answer {
    let Some(row) = TABLE.iter().find(|r| r.prim == number) else {
        return UPW;
    };
    match state {
        State::Unattached => row.unattached,
        State::Unbound => row.unbound,
        State::Idle => row.idle,
        _ => row.pending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_primitive_has_one_row() {
        for (number, name, _) in Prim::ALL {
            assert_eq!(
                TABLE.iter().filter(|r| r.prim == *number).count(),
                1,
                "{name}"
            );
        }
        assert_eq!(TABLE.len(), Prim::ALL.len());
    }

    #[test]
    fn states_have_the_values_of_the_header() {
        // sys/dlpi.h counts the states from 0 without a gap.
        for (i, s) in State::ALL.iter().enumerate() {
            assert_eq!(State::from_value(i as u32), Some(*s));
        }
        assert_eq!(State::from_value(0x16), None);
        assert_eq!(State::Idle as u32, 3);
        assert_eq!(State::Unattached as u32, 4);
    }

    #[test]
    fn the_way_up_and_down_is_the_drawing() {
        // DLPI 2.0.0 appendix B
        use State::{Idle, Unattached, Unbound};
        let arrows = [
            (Unattached, DL_ATTACH_REQ, Unbound),
            (Unbound, DL_DETACH_REQ, Unattached),
            (Unbound, DL_BIND_REQ, Idle),
            (Idle, DL_UNBIND_REQ, Unbound),
        ];
        for s in [Unattached, Unbound, Idle] {
            for p in arrows.map(|a| a.1) {
                let arrow = arrows.iter().find(|a| a.0 == s && a.1 == p);
                let want = arrow.map_or(Nak(DlErrno::OUTSTATE), |a| Go(a.2));
                assert_eq!(answer(s, p), want, "{s:?} {}", Prim::name_of(p));
            }
        }
    }

    #[test]
    fn info_and_statistics_are_answered_in_any_state() {
        for s in State::ALL {
            assert_eq!(answer(*s, DL_INFO_REQ), Do);
            assert_eq!(answer(*s, DL_GET_STATISTICS_REQ), Do);
            assert_eq!(answer(*s, 0x9999), Nak(DlErrno::BADPRIM));
        }
    }

    #[test]
    fn a_pending_state_takes_nothing_that_changes_state() {
        for s in State::ALL
            .iter()
            .filter(|s| !matches!(s, State::Unattached | State::Unbound | State::Idle))
        {
            for (n, name, _) in Prim::ALL {
                assert!(!matches!(answer(*s, *n), Go(_)), "{} {name}", s.name());
            }
        }
    }
}
