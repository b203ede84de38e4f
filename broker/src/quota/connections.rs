//! How many connections there may be, of all, by listener and by address, and how many new ones a second.
//!
//! Who comes to a listener that is full, or too fast, waits in the kernel's queue: nothing is accepted meanwhile. Only
//! an address with too many connections is refused, and one that comes too fast is kept waiting and then closed.
//! Brokers always get in: for a connection to their listener the one that has been idle longest on another is closed.
//! Does not open or close sockets itself; what is over the limits is ended through its task's handle.
//!
//! Source: Kafka 3.9 `ConnectionQuotas`, `IpConfigHandler`; KIP-402, KIP-612.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use model::Millis;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::counted::Counted;
use super::limits::Tags;
use super::window::{Rate, Windows};

/// The key of an address's quota, in connections a second.
pub const CONNECTION_CREATION_RATE: &str = "connection_creation_rate";

/// "As many as you like".
const UNLIMITED: i32 = i32::MAX;

/// What `server.properties` and `/config/brokers` say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// `max.connections`.
    pub max: i32,
    /// `max.connection.creation.rate`.
    pub creation_rate: i32,
    /// `max.connections.per.ip`.
    pub max_per_ip: i32,
    /// `max.connections.per.ip.overrides`, resolved.
    pub per_ip_overrides: BTreeMap<IpAddr, i32>,
    /// The same of each listener.
    pub listeners: BTreeMap<String, ListenerLimits>,
}

/// The limits of one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    /// `listener.name.x.max.connections`.
    pub max: i32,
    /// `listener.name.x.max.connection.creation.rate`.
    pub creation_rate: i32,
}

/// Why a connection may not stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its address has as many as it may.
    #[error("address already has the configured maximum of {max} connections")]
    TooMany {
        /// So many.
        max: i32,
    },
    /// Its address makes them too fast: it is closed when this time is over, so that it does not come back at once.
    #[error("address makes connections too fast")]
    TooFast {
        /// So long.
        pause: Millis,
    },
}

/// The connections of a broker.
#[derive(Debug)]
pub struct ConnectionQuotas {
    state: Mutex<State>,
    /// There may be room that there was not.
    room: Notify,
    began: Instant,
}

#[derive(Debug)]
struct State {
    windows: Windows,
    /// The listener of brokers.
    inter_broker: String,
    max: i32,
    rate: Limited,
    listeners: Vec<OfListener>,
    max_per_ip: i32,
    per_ip_overrides: BTreeMap<IpAddr, i32>,
    total: usize,
    per_ip: HashMap<IpAddr, usize>,
    ip_rate_default: Option<i32>,
    ip_rates: HashMap<IpAddr, i32>,
    ip_measured: Counted<Rate>,
    next_id: u64,
    /// Those that are open and not told to end.
    open: HashMap<u64, Open>,
    /// Those that are told to end, and have not yet.
    ending: usize,
}

#[derive(Debug)]
struct OfListener {
    name: String,
    max: i32,
    rate: Limited,
    open: usize,
}

#[derive(Debug)]
struct Open {
    protected: bool,
    used: Arc<AtomicU64>,
    task: Option<AbortHandle>,
}

/// A rate with its limit.
#[derive(Debug)]
struct Limited {
    limit: i32,
    rate: Rate,
}

impl Limited {
    fn new(limit: i32) -> Self {
        Self {
            limit,
            rate: Rate::default(),
        }
    }

    fn record(&mut self, windows: Windows, now: Millis) -> Millis {
        match self.limit {
            UNLIMITED => Millis(0),
            limit => record(&mut self.rate, limit, windows, now),
        }
    }

    fn take_back(&mut self, windows: Windows, now: Millis) {
        if self.limit != UNLIMITED {
            self.rate.record(windows, -1.0, now);
        }
    }
}

/// One more connection; how long it must wait, at most one window.
fn record(rate: &mut Rate, limit: i32, windows: Windows, now: Millis) -> Millis {
    rate.record(windows, 1.0, now);
    rate.measure(windows, now)
        .throttle(limit.into(), windows.length)
        .min(windows.length)
}

impl ConnectionQuotas {
    /// No limits, and no connections. `windows`: `quota.window.*`; `inter_broker`: the name of the brokers' listener.
    pub fn new(windows: Windows, inter_broker: &str) -> Self {
        Self {
            state: Mutex::new(State {
                windows,
                inter_broker: inter_broker.to_owned(),
                max: UNLIMITED,
                rate: Limited::new(UNLIMITED),
                listeners: Vec::new(),
                max_per_ip: UNLIMITED,
                per_ip_overrides: BTreeMap::new(),
                total: 0,
                per_ip: HashMap::new(),
                ip_rate_default: None,
                ip_rates: HashMap::new(),
                ip_measured: Counted::default(),
                next_id: 0,
                open: HashMap::new(),
                ending: 0,
            }),
            room: Notify::new(),
            began: Instant::now(),
        }
    }

    /// Takes over the limits, at the start and whenever they change. Listeners that are new are added; if there are
    /// too many connections now, those that have been idle longest are closed.
    pub fn configure(&self, limits: &ConnectionLimits) {
        self.state.lock().configure(limits);
        self.room.notify_waiters();
    }

    /// Takes over the quota of an address, or (`None`) of all that have none of their own.
    pub fn set_ip_rate(&self, ip: Option<IpAddr>, limit: Option<i32>) {
        let mut state = self.state.lock();
        match (ip, limit) {
            (None, limit) => state.ip_rate_default = limit,
            (Some(ip), Some(limit)) => {
                state.ip_rates.insert(ip, limit);
            }
            (Some(ip), None) => {
                state.ip_rates.remove(&ip);
            }
        }
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.state.lock().total
    }

    /// A connection has come to the listener: waits until there is room for it and until it is not too fast, which
    /// holds back those behind it as well.
    ///
    /// # Errors
    /// Its address has too many, or makes them too fast.
    pub async fn admit(self: &Arc<Self>, listener: &str, ip: IpAddr, now: fn() -> Millis) -> Result<Place, Refusal> {
        let pause = self.state.lock().record(listener, now());
        if pause.0 > 0 {
            tokio::time::sleep(Duration::from_millis(pause.0.unsigned_abs())).await;
        }
        loop {
            let mut room = pin!(self.room.notified());
            // Before looking, so that room made meanwhile is not missed.
            room.as_mut().enable();
            {
                let mut state = self.state.lock();
                if state.has_room(listener) {
                    let (id, used) = state.take(listener, ip, now(), self.millis(Instant::now()))?;
                    return Ok(Place {
                        quotas: Arc::clone(self),
                        listener: listener.to_owned(),
                        ip,
                        id,
                        used,
                    });
                }
            }
            room.await;
        }
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }
}

/// A connection's place under the limits; given back when dropped.
#[derive(Debug)]
pub struct Place {
    quotas: Arc<ConnectionQuotas>,
    listener: String,
    ip: IpAddr,
    id: u64,
    used: Arc<AtomicU64>,
}

impl Place {
    /// How to end the connection, should its place be needed for a broker.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The connection was used.
    pub fn touch(&self, now: Instant) {
        self.used.store(self.quotas.millis(now), Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.quotas.state.lock().give_back(&self.listener, self.ip, self.id);
        self.quotas.room.notify_waiters();
    }
}

impl ConnectionQuotas {
    /// Says how the connection with this [`Place::id`] is ended.
    pub fn serve_by(&self, id: u64, task: AbortHandle) {
        if let Some(open) = self.state.lock().open.get_mut(&id) {
            open.task = Some(task);
        }
    }
}

impl State {
    fn configure(&mut self, limits: &ConnectionLimits) {
        self.max = limits.max;
        self.rate.limit = limits.creation_rate;
        self.max_per_ip = limits.max_per_ip;
        self.per_ip_overrides.clone_from(&limits.per_ip_overrides);
        for (name, limits) in &limits.listeners {
            match self.listeners.iter_mut().find(|listener| listener.name == *name) {
                Some(listener) => {
                    listener.max = limits.max;
                    listener.rate.limit = limits.creation_rate;
                }
                None => self.listeners.push(OfListener {
                    name: name.clone(),
                    max: limits.max,
                    rate: Limited::new(limits.creation_rate),
                    open: 0,
                }),
            }
        }
        self.shed();
    }

    /// Brokers get in, unless theirs is the only listener: then they are not told apart.
    fn is_protected(&self, listener: &str) -> bool {
        self.listeners.len() > 1 && self.inter_broker == listener
    }

    fn listener(&mut self, name: &str) -> Option<&mut OfListener> {
        self.listeners.iter_mut().find(|listener| listener.name == name)
    }

    /// One more comes; how long it must wait so that they are not too fast.
    fn record(&mut self, listener: &str, now: Millis) -> Millis {
        let windows = self.windows;
        let pause = match self.is_protected(listener) {
            true => Millis(0),
            false => self.rate.record(windows, now),
        };
        match self.listener(listener) {
            Some(listener) => pause.max(listener.rate.record(windows, now)),
            None => pause,
        }
    }

    fn has_room(&self, listener: &str) -> bool {
        let of_listener = self.listeners.iter().find(|known| known.name == listener);
        let is_full = of_listener.is_some_and(|known| is_reached(known.max, known.open));
        !is_full && (self.is_protected(listener) || !is_reached(self.max, self.total))
    }

    fn take(&mut self, listener: &str, ip: IpAddr, now: Millis, used: u64) -> Result<(u64, Arc<AtomicU64>), Refusal> {
        self.check_ip_rate(listener, ip, now)?;
        let max = self.per_ip_overrides.get(&ip).copied().unwrap_or(self.max_per_ip);
        let of_ip = self.per_ip.get(&ip).copied().unwrap_or(0);
        if is_reached(max, of_ip) {
            return Err(Refusal::TooMany { max });
        }
        self.per_ip.insert(ip, of_ip + 1);
        self.total += 1;
        let protected = self.is_protected(listener);
        if let Some(listener) = self.listener(listener) {
            listener.open += 1;
        }
        let id = self.next_id;
        self.next_id += 1;
        let used = Arc::new(AtomicU64::new(used));
        let open = Open {
            protected,
            used: Arc::clone(&used),
            task: None,
        };
        self.open.insert(id, open);
        self.shed();
        Ok((id, used))
    }

    fn check_ip_rate(&mut self, listener: &str, ip: IpAddr, now: Millis) -> Result<(), Refusal> {
        let limit = self.ip_rates.get(&ip).copied().or(self.ip_rate_default);
        let Some(limit) = limit.filter(|limit| *limit != UNLIMITED) else {
            return Ok(());
        };
        let windows = self.windows;
        let name = ip.to_string();
        let tags = Tags {
            user: "",
            client: &name,
        };
        let is_blank = |rate: &mut Rate| rate.is_blank(windows, now);
        let rate = self.ip_measured.of(tags, now, Rate::default, is_blank);
        let pause = record(rate, limit, windows, now);
        if pause.0 == 0 {
            return Ok(());
        }
        // It does not become a connection: it counts nowhere.
        rate.record(windows, -1.0, now);
        if !self.is_protected(listener) {
            self.rate.take_back(windows, now);
        }
        if let Some(listener) = self.listener(listener) {
            listener.rate.take_back(windows, now);
        }
        Err(Refusal::TooFast { pause })
    }

    fn give_back(&mut self, listener: &str, ip: IpAddr, id: u64) {
        self.total = self.total.saturating_sub(1);
        if let Some(listener) = self.listener(listener) {
            listener.open = listener.open.saturating_sub(1);
        }
        match self.per_ip.get_mut(&ip) {
            Some(of_ip) if *of_ip > 1 => *of_ip -= 1,
            _ => {
                self.per_ip.remove(&ip);
            }
        }
        if self.open.remove(&id).is_none() {
            self.ending = self.ending.saturating_sub(1);
        }
    }

    /// Ends those that were idle longest, as long as there are more than there may be.
    fn shed(&mut self) {
        let max = usize::try_from(self.max).unwrap_or(0);
        while self.total.saturating_sub(self.ending) > max {
            let candidates = self
                .open
                .iter()
                .filter(|(_, open)| !open.protected && open.task.is_some());
            let Some((&id, _)) = candidates.min_by_key(|(_, open)| open.used.load(Ordering::Relaxed)) else {
                return;
            };
            if let Some(task) = self.open.remove(&id).and_then(|open| open.task) {
                self.ending += 1;
                task.abort();
            }
        }
    }
}

fn is_reached(max: i32, open: usize) -> bool {
    usize::try_from(max).is_ok_and(|max| open >= max)
}

#[cfg(test)]
#[path = "connections_tests.rs"]
mod tests;
