//! Work that waits for a disk, kept off the runtime's own threads.

/// Runs `work` on the blocking pool; a panic in it goes on here.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going down: nobody waits for the answer any more.
            Err(_cancelled) => std::future::pending().await,
        },
    }
}
