//! A one-shot watch: "read again".

use core::future::Future;
use core::panic::AssertUnwindSafe;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;

/// Fires once: when what was read may have changed, or when the connection it was set on is gone. Never data.
///
/// Dropping it is fine. A fired watch stays fired.
pub struct Watch {
    fired: Option<BoxFuture<'static, ()>>,
}

impl Watch {
    /// `fired` may panic if its source dies: that, too, means "read again".
    pub(crate) fn new(fired: impl Future<Output = ()> + Send + 'static) -> Self {
        let fired = AssertUnwindSafe(fired).catch_unwind().map(|_| ());
        Self {
            fired: Some(fired.boxed()),
        }
    }

    /// Waits until it fires; cancel-safe.
    pub async fn changed(&mut self) {
        self.await;
    }
}

impl Future for Watch {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(fired) = self.fired.as_mut() {
            core::task::ready!(fired.as_mut().poll(cx));
            self.fired = None;
        }
        Poll::Ready(())
    }
}

impl core::fmt::Debug for Watch {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Watch")
            .field("fired", &self.fired.is_none())
            .finish_non_exhaustive()
    }
}
