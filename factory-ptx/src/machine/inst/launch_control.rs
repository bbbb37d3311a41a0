//! Taking over the work of clusters that have not begun (sm_100).

use super::{Address, Space};

/// One decoded operation.
#[derive(Clone, Debug)]
pub(crate) enum LaunchControl {
    /// `clusterlaunchcontrol.try_cancel.async`: 16 bytes come to `target`, and are counted at `barrier`.
    TryCancel {
        space: Space,
        target: Address,
        barrier: Address,
        /// In every block of the cluster.
        multicast: bool,
    },
    /// `clusterlaunchcontrol.query_cancel.is_canceled`: the answer in slot `a`, the predicate in slot `d`.
    IsCanceled,
    /// `clusterlaunchcontrol.query_cancel.get_first_ctaid`: the answer in slot `a`.
    FirstBlock,
}
