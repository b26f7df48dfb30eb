//! Who keeps a handle open: its users, and not the driver thread, which would keep itself alive.

use std::ops::Deref;
use std::sync::Arc;

use super::shared::Shared;

/// What clones of the handle and its leases share. With the last of them the handle is closed, if that has not been
/// done before; the driver has a count of [`Shared`] alone.
pub(crate) struct Owner(Arc<Shared>);

impl Owner {
    pub(crate) fn new(shared: Shared) -> Owner {
        Owner(Arc::new(shared))
    }
}

impl Deref for Owner {
    type Target = Arc<Shared>;

    fn deref(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.end();
    }
}
