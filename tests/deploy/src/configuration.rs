//! Does each process of ours understand its environment? The real configuration is read from what is rendered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::{Args as _, Command};
use secrecy::ExposeSecret as _;
use tael_config::{ConfigErrors, Env};
use tael_grpc::caller::Caller;
use tael_grpc::server::RpcAccess;
use tael_principal::SigningKey;
use tael_runtime::Service;
use tael_telemetry::TelemetryConfig;

use crate::environment::{Variable, environment};
use crate::object::{Objects, Problem};
use crate::pod::{our_image, pods};

/// What a process makes of its environment: what is wrong with it, and which variables it never asks for.
type Read = fn(BTreeMap<String, String>) -> (Vec<String>, Vec<String>);

/// Variables that the OpenTelemetry SDK reads by itself, beside our configuration:
/// <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>.
const OF_OPENTELEMETRY: [&str; 4] = [
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_TRACES_SAMPLER",
];

/// The services, with the reader of each one's configuration.
pub const SERVICES: [(&str, Read); 8] = [
    (tael_audit::App::NAME, serving::<tael_audit::App>),
    (tael_gateway::App::NAME, serving::<tael_gateway::App>),
    (tael_merchant::App::NAME, serving::<tael_merchant::App>),
    (tael_notification::App::NAME, serving::<tael_notification::App>),
    (tael_order::App::NAME, serving::<tael_order::App>),
    (tael_payment::App::NAME, serving::<tael_payment::App>),
    (tael_refund::App::NAME, serving::<tael_refund::App>),
    (tael_settlement::App::NAME, serving::<tael_settlement::App>),
];

/// The services that are called by gRPC, with who may call what.
pub const RPC_ACCESS: [(&str, RpcAccess); 7] = [
    (tael_audit::App::NAME, tael_audit::RPC_ACCESS),
    (tael_merchant::App::NAME, tael_merchant::RPC_ACCESS),
    (tael_notification::App::NAME, tael_notification::RPC_ACCESS),
    (tael_order::App::NAME, tael_order::RPC_ACCESS),
    (tael_payment::App::NAME, tael_payment::RPC_ACCESS),
    (tael_refund::App::NAME, tael_refund::RPC_ACCESS),
    (tael_settlement::App::NAME, tael_settlement::RPC_ACCESS),
];

/// Which service may call which, as the services' own tables have it: the caller's name and the called one's. RpcAccess
/// from outside are left out.
pub fn allowed_calls() -> BTreeSet<(String, String)> {
    let mut calls = BTreeSet::new();
    for (called, table) in RPC_ACCESS {
        let callers =
            table.iter().flat_map(|(_, methods)| methods.iter()).flat_map(|(_, callers)| callers.iter());
        for caller in callers.filter(|caller| !matches!(caller, Caller::Backend | Caller::Operator)) {
            calls.insert((caller.name().to_owned(), called.to_owned()));
        }
    }
    calls
}

/// Every container of ours gets what its process needs, nothing that can't be understood, and nothing that is not read.
pub fn check(objects: &Objects) -> Vec<Problem> {
    let mut problems = Vec::new();
    for pod in pods(objects) {
        for container in pod.containers() {
            let Some(name) = our_image(container.image()) else { continue };
            let arguments: Vec<_> =
                crate::object::list(container.value.get("args")).iter().map(ToString::to_string).collect();
            let Some(read) = reader(&name, &arguments) else {
                let what = format!("nobody knows what tael/{name} reads from its environment");
                problems.push(pod.owner.problem(container.field("image"), what));
                continue;
            };
            let variables = environment(objects, container.value);
            // A variable that only helps to spell another one is read by the kubelet.
            let spelled: Vec<_> = crate::object::list(container.value.get("env"))
                .iter()
                .flat_map(|item| crate::object::text(item, "value").split("$(").skip(1))
                .filter_map(|rest| rest.split(')').next())
                .collect();
            let (wrong, unread) =
                read(variables.iter().map(|(name, value)| (name.clone(), stand_in(name, value))).collect());
            let unread = unread.into_iter().filter(|name| !spelled.contains(&name.as_str()));
            let wrong =
                wrong.into_iter().chain(unread.map(|name| format!("{name} is set and nobody reads it")));
            problems.extend(wrong.map(|what| pod.owner.problem(container.field("env"), what)));
        }
    }
    problems
}

fn reader(image: &str, arguments: &[String]) -> Option<Read> {
    let migrates = arguments.iter().any(|argument| argument == "\"migrate\"");
    match image {
        "sandbox" => Some(sandbox),
        "tael" => Some(command_line),
        _ if migrates => SERVICES.iter().any(|(name, _)| *name == image).then_some(migrating as Read),
        _ => SERVICES.iter().find(|(name, _)| *name == image).map(|(_, read)| *read),
    }
}

/// A value that could stand for one that only the cluster knows.
fn stand_in(name: &str, value: &Variable) -> String {
    match (value, name) {
        (Variable::Known(value), _) => value.clone(),
        (_, "TAEL_DATABASE_URL") => "postgres://user:password@host/database".to_owned(),
        (_, "TAEL_REDIS_URL") => "redis://host".to_owned(),
        (_, "TAEL_SEALING_KEYS") => {
            tael_sealed::Keyring::generate_text("stand-in").expose_secret().to_owned()
        }
        (_, "TAEL_PRINCIPAL_SIGNING_KEY") => SigningKey::generate("stand-in").0.expose_secret().to_owned(),
        (_, "TAEL_PRINCIPAL_KEYS") => SigningKey::generate("stand-in").1.verification_text(),
        _ => "stand-in".to_owned(),
    }
}

/// What `tael_runtime::main` reads before it serves.
fn serving<S: Service>(variables: BTreeMap<String, String>) -> (Vec<String>, Vec<String>) {
    in_environment(variables, S::NAME, |env| S::config(env).map(drop))
}

/// What `tael_runtime::main` reads before it migrates.
fn migrating(variables: BTreeMap<String, String>) -> (Vec<String>, Vec<String>) {
    in_environment(variables, "any", |env| {
        let url = env.secret("TAEL_DATABASE_URL");
        // Read by the command line's parser, from the same environment.
        let _: Option<String> = env.optional("TAEL_RUNTIME_ROLE");
        env.finish(|| url.map(drop))
    })
}

fn in_environment(
    variables: BTreeMap<String, String>,
    name: &str,
    read: impl FnOnce(&mut Env) -> Result<(), ConfigErrors>,
) -> (Vec<String>, Vec<String>) {
    let mut env = Env::from_map(variables);
    TelemetryConfig::from_env(&mut env, name);
    env.duration("TAEL_START_PATIENCE", Duration::from_mins(5));
    let wrong = match read(&mut env) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.problems().iter().map(ToString::to_string).collect(),
    };
    let unread = env.unread().into_iter().filter(|name| !OF_OPENTELEMETRY.contains(&name.as_str()));
    (wrong, unread.collect())
}

fn sandbox(variables: BTreeMap<String, String>) -> (Vec<String>, Vec<String>) {
    let asked = std::cell::RefCell::new(vec!["RUST_LOG".to_owned()]);
    let config = tael_sandbox::Config::from_lookup(|name| {
        asked.borrow_mut().push(name.to_owned());
        variables.get(name).cloned()
    });
    let wrong = config.err().map(|errors| errors.to_string().lines().map(str::to_owned).collect());
    let asked = asked.into_inner();
    (wrong.unwrap_or_default(), variables.into_keys().filter(|name| !asked.contains(name)).collect())
}

/// What the command line `tael audit` reads: its own options may come from the environment.
fn command_line(variables: BTreeMap<String, String>) -> (Vec<String>, Vec<String>) {
    let options = tael::audit::Options::augment_args(Command::new("audit"));
    in_environment(variables, "tael", |env| {
        tael_runtime::tls_files(env);
        for option in options.get_arguments().filter_map(clap::Arg::get_env) {
            let _: Option<String> = env.optional(&option.to_string_lossy());
        }
        env.finish(|| Some(()))
    })
}
