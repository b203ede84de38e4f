//! The program `broker`: command line, allocator, runtime; everything else is in the library.

mod command_line;

use std::process::ExitCode;

use broker::{config, logging, start};
use tracing::error;

use command_line::{Command, Run};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How jemalloc is told to keep the process small: few arenas, and memory that is not used goes back within a second,
/// by one thread of its own also while the broker is idle.
///
/// jemalloc reads this symbol before `main`, so there is no safe way to set it; the value is a plain static text.
#[allow(unsafe_code, reason = "jemalloc finds its settings by an exported symbol")]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static MALLOC_CONF: &[u8] =
    b"narenas:2,dirty_decay_ms:1000,muzzy_decay_ms:0,background_thread:true,max_background_threads:1\0";

/// Workers at least, so that one which waits for a slow disk is not the only one.
const WORKERS_MIN: usize = 2;

fn main() -> ExitCode {
    if let Some(status) = guardian::role() {
        return status;
    }
    match command_line::read() {
        Command::Run(run) => run_broker(run),
        Command::CheckConfig(run) => check_config(&run),
        Command::Compatibility => {
            print!("{}", broker::compatibility::page());
            ExitCode::SUCCESS
        }
    }
}

/// Lets the process open as many files as the system allows, as Java's runtime does: each partition needs one or more.
fn raise_file_limit() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(cause) = rustix::process::setrlimit(rustix::process::Resource::Nofile, limit) {
        tracing::warn!("cannot raise the limit of open files: {cause}");
    }
}

fn run_broker(run: Run) -> ExitCode {
    let flusher = match logging::start() {
        Ok(flusher) => flusher,
        Err(cause) => {
            eprintln!("cannot start the thread that writes the log: {cause}");
            return ExitCode::FAILURE;
        }
    };
    raise_file_limit();
    let status = match config::load(&run.into_sources()) {
        Ok(loaded) => match runtime() {
            Ok(runtime) => {
                let status = runtime.block_on(start::run(loaded));
                // What still runs on it must not keep the process.
                runtime.shutdown_background();
                status
            }
            Err(cause) => {
                error!(target: "kafka.Kafka$", "Exiting Kafka due to fatal exception: cannot start threads: {cause}");
                ExitCode::FAILURE
            }
        },
        Err(cause) => {
            error!(target: "kafka.Kafka$", "Exiting Kafka due to fatal exception: {cause}");
            ExitCode::FAILURE
        }
    };
    drop(flusher);
    status
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(WORKERS_MIN, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.max(WORKERS_MIN))
        .thread_name("broker")
        .enable_all()
        .build()
}

fn check_config(run: &Run) -> ExitCode {
    match config::load(&run.clone().into_sources()) {
        Ok(loaded) => {
            for notice in &loaded.notices {
                println!("warning: {notice}");
            }
            println!("the configuration is valid");
            ExitCode::SUCCESS
        }
        Err(cause) => {
            eprintln!("error: {cause}");
            ExitCode::FAILURE
        }
    }
}
