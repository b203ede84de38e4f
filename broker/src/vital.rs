//! Tasks that the broker must not outlive: where one of them panics, half a broker would hold leaderships and a place among
//! the live ones. So it ends the process, in order if it can; what is left of the registration goes at once (the crate
//! `guardian`) and others take over.
//!
//! A panic in a connection's task is not among these: it ends that connection.

use std::sync::LazyLock;

use tokio::sync::watch;

/// The name of a vital task that has panicked.
static PANICKED: LazyLock<watch::Sender<Option<&'static str>>> = LazyLock::new(|| watch::Sender::new(None));

/// `task`, whose panic ends the process.
pub async fn vital<T>(name: &'static str, task: impl Future<Output = T>) -> T {
    let _guard = Guard(name);
    task.await
}

/// Waits for the panic of a vital task, and answers its name.
pub(crate) async fn panicked() -> &'static str {
    let mut panicked = PANICKED.subscribe();
    let name = panicked.wait_for(Option::is_some).await.ok().and_then(|name| *name);
    match name {
        Some(name) => name,
        // The sender is never dropped.
        None => std::future::pending().await,
    }
}

struct Guard(&'static str);

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            PANICKED.send_replace(Some(self.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_panic_is_told() {
        vital("ends", async {}).await;
        let aborted = tokio::spawn(vital("aborted", std::future::pending::<()>()));
        tokio::task::yield_now().await;
        aborted.abort();
        assert!(aborted.await.unwrap_err().is_cancelled());
        assert_eq!(*PANICKED.borrow(), None);

        let told = tokio::spawn(panicked());
        let panics = tokio::spawn(vital("panics", async { panic!("on purpose") }));
        assert!(panics.await.unwrap_err().is_panic());
        assert_eq!(told.await.unwrap(), "panics");
    }
}
