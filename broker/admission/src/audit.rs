//! A line for each decision, as Kafka's `kafka.authorizer.logger` has it: denials at INFO, all else at DEBUG and TRACE.
//!
//! Source: Kafka 3.9 `AclAuthorizer.logAuditMessage`.

use core::net::IpAddr;

use broker_security::authorizer::{Decision, Requester, host_address};
use tracing::{Level, debug, enabled, info, trace};
use zk_schema::acl::{Operation, ResourceType};

/// Kafka's name of the audit log.
pub const AUDIT: &str = "kafka.authorizer.logger";

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Action<'a> {
    /// To do what.
    pub operation: Operation,
    /// To which kind of resource.
    pub resource_type: ResourceType,
    /// To which.
    pub name: &'a str,
    /// How often the request names the resource.
    pub count: usize,
    /// Whether the decision is worth a line.
    pub log: LogIf,
}

/// Whether a decision is worth a line: not where it only tells a client what it could do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogIf {
    /// If it is allowed.
    pub allowed: bool,
    /// If it is denied.
    pub denied: bool,
}

impl LogIf {
    /// Either way.
    pub const BOTH: Self = Self {
        allowed: true,
        denied: true,
    };
    /// Somebody may be refused this and still be served.
    pub const ALLOWED: Self = Self {
        allowed: true,
        denied: false,
    };
    /// Neither way.
    pub const NEITHER: Self = Self {
        allowed: false,
        denied: false,
    };
}

/// Logs what was decided about one resource.
pub(crate) fn decided(requester: Requester<'_>, request: &str, action: Action<'_>, decision: &Decision<'_>) {
    // The levels in use decide before anything is formatted.
    if enabled!(target: AUDIT, Level::DEBUG) {
        reason(requester, action, decision);
    }
    line(
        requester,
        request,
        action,
        &format_args!("LITERAL:{}", action.name),
        decision.is_allowed(),
    );
}

/// Logs whether something may be done to any resource of a kind.
pub(crate) fn decided_for_any(
    requester: Requester<'_>,
    request: &str,
    operation: Operation,
    resource_type: ResourceType,
    allowed: bool,
) {
    let action = Action {
        operation,
        resource_type,
        name: "NONE",
        count: 0,
        log: LogIf::BOTH,
    };
    line(requester, request, action, &format_args!("UNKNOWN:NONE"), allowed);
}

fn line(
    requester: Requester<'_>,
    request: &str,
    action: Action<'_>,
    pattern: &core::fmt::Arguments<'_>,
    allowed: bool,
) {
    let Requester { principal, host } = requester;
    let (operation, kind) = (action.operation.camel(), action.resource_type.camel());
    let result = if allowed { "Allowed" } else { "Denied" };
    let (host, count) = (Address(host), action.count);
    macro_rules! log {
        ($level:ident) => {
            $level!(
                target: AUDIT,
                "Principal = {principal} is {result} Operation = {operation} from host = {host} on resource = {kind}:{pattern} for request = {request} with resourceRefCount = {count}"
            )
        };
    }
    match (allowed, action.log) {
        (true, LogIf { allowed: true, .. }) => log!(debug),
        (false, LogIf { denied: true, .. }) => log!(info),
        _ => log!(trace),
    }
}

/// Says which rule it was.
fn reason(requester: Requester<'_>, action: Action<'_>, decision: &Decision<'_>) {
    let kind = action.resource_type.upper();
    let name = action.name;
    let host = Address(requester.host);
    match decision {
        Decision::SuperUser => debug!(
            target: AUDIT,
            "principal = {} is a super user, allowing operation without checking acls.",
            requester.principal
        ),
        Decision::NoRules { allowed } => debug!(
            target: AUDIT,
            "No acl found for resource ResourcePattern(resourceType={kind}, name={name}, patternType=LITERAL), authorized = {allowed}"
        ),
        Decision::DeniedBy(rule) | Decision::AllowedBy(rule) => debug!(
            target: AUDIT,
            "operation = {} on resource = ResourcePattern(resourceType={kind}, name={name}, patternType=LITERAL) from host = {host} is {} based on acl = {rule}",
            action.operation.upper(),
            if decision.is_allowed() { "ALLOW" } else { "DENY" },
        ),
        Decision::NoRuleAllows => {}
    }
}

/// Formats only if somebody reads it.
struct Address(IpAddr);

impl core::fmt::Display for Address {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&host_address(self.0))
    }
}
