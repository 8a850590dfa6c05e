//! `oddline serve`: the sidecar.

use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use clap::Args;
use oddline::config::Format;
use oddline::engine::Environment;
use oddline::serve::options::{HttpOptions, VectorOptions};
use oddline::serve::{Options, Server};
use sd_notify::NotifyState;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::error::CliError;
use super::output;
use super::settings::{self, EngineArgs, EventArgs, FieldArgs};
use super::signals::INTERRUPTED;

/// Threads that wait for sockets. Lanes do the work, and the unit allows the process 128 threads, whatever the machine has.
const MOST_WORKERS: usize = 4;

/// Threads for what waits for files and name servers: two who read the journal, two who search, and lookups of next hops.
const MOST_BLOCKING: usize = 16;

/// Flags of `oddline serve`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServeArgs {
    /// Options of the sidecar: TOML, YAML or JSON; flags go over it.
    #[arg(long, value_name = "FILE")]
    serve_config: Option<PathBuf>,
    /// Where Vector's `vector` sink connects to: host:port, unix:PATH or fd:N. Needs --forward.
    #[arg(long, value_name = "ADDRESS", requires = "forward")]
    listen: Option<String>,
    /// The `vector` source that events go on to, such as `http://127.0.0.1:6101`.
    #[arg(long, value_name = "URI")]
    forward: Option<String>,
    /// Where HTTP is listened for: host:port, unix:PATH or fd:N.
    #[arg(long, value_name = "ADDRESS")]
    http: Option<String>,
    /// Where OpenTelemetry's logs that come to /v1/logs go on to, such as `http://127.0.0.1:4318/v1/logs`.
    #[arg(long, value_name = "URI")]
    otlp_forward: Option<String>,
    /// Only say whether the options are right.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    event: EventArgs,
    #[command(flatten)]
    field: FieldArgs,
}

const EXAMPLES: &str = "\
gRPC: a `vector` sink pushes events here, oddline scores them and pushes them on to a `vector` source; the sink gets its \
answer only after that push succeeded, so acknowledgements go all the way. HTTP: POST /v1/score takes NDJSON, a JSON \
list or lines of text and answers with the scored events, and /v1/logs OpenTelemetry's logs (OTLP, protobuf or JSON), which go on to --otlp-forward; /metrics, /health, /ready and /v1/stats say how it is, /v1/incidents what was odd.

Examples:
  oddline serve --data-dir /var/lib/oddline                        HTTP on 127.0.0.1:6180
  oddline serve --listen 127.0.0.1:6100 --forward http://127.0.0.1:6101 --data-dir /var/lib/oddline
  oddline serve --serve-config serve.toml --config oddline.toml
  oddline serve --http 127.0.0.1:4319 --otlp-forward http://127.0.0.1:4318/v1/logs --partition-by service.name
  curl -H 'Content-Type: application/x-ndjson' --data-binary @events.ndjson http://127.0.0.1:6180/v1/score

Beyond loopback HTTP needs a token (http.token_file, http.token_env), and gRPC client certificates (vector.tls). \
SIGTERM and SIGINT end it: requests under way are finished, what was learned is saved; a second one ends it at once.";

/// Runs the command.
pub(crate) fn run(args: &ServeArgs) -> Result<(), CliError> {
    let mut config = settings::load(&args.engine)?;
    args.event.apply(&mut config);
    args.field.apply(&mut config);
    let config = settings::checked(config)?;
    let options = options(args)?;
    options.validate()?;
    if args.check {
        return output::print("the options are right");
    }
    let runtime = runtime().map_err(CliError::Signals)?;
    let ended = runtime.block_on(serve(config, &options));
    // What the deadline cut off is not waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

fn runtime() -> std::io::Result<Runtime> {
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    Builder::new_multi_thread()
        .worker_threads(available.min(MOST_WORKERS))
        .max_blocking_threads(MOST_BLOCKING)
        .thread_name("oddline-io")
        .enable_all()
        .build()
}

fn options(args: &ServeArgs) -> Result<Options, CliError> {
    let mut options = args.serve_config.as_deref().map(from_file).transpose()?.unwrap_or_default();
    if let Some(forward) = &args.forward {
        options.vector.get_or_insert_with(VectorOptions::default).forward.clone_from(forward);
    }
    if let (Some(listen), Some(vector)) = (&args.listen, &mut options.vector) {
        vector.listen.clone_from(listen);
    }
    if let Some(listen) = &args.http {
        options.http.get_or_insert_with(HttpOptions::default).listen.clone_from(listen);
    }
    if let Some(forward) = &args.otlp_forward {
        options.http.get_or_insert_with(HttpOptions::default).otlp_forward = Some(forward.clone());
    }
    Ok(options)
}

fn from_file(path: &Path) -> Result<Options, CliError> {
    let refused = |message: String| CliError::ServeConfig { path: path.to_owned(), message };
    let text = std::fs::read_to_string(path).map_err(|source| CliError::Input { path: path.to_owned(), source })?;
    match Format::of(path) {
        Some(Format::Toml) => toml::from_str(&text).map_err(|error| refused(error.to_string())),
        Some(Format::Yaml) => serde_saphyr::from_str(&text).map_err(|error| refused(error.to_string())),
        Some(Format::Json) => serde_json::from_str(&text).map_err(|error| refused(error.to_string())),
        _ => Err(refused(format!("expected a name ending in {}", Format::ACCEPTED_ENDINGS.join(", ")))),
    }
}

async fn serve(config: oddline::config::Config, options: &Options) -> Result<(), CliError> {
    let (mut term, mut int) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    let server = Server::bind(config, options, Environment::system()).await?;
    let shown = |listen: &str, address: Option<std::net::SocketAddr>| {
        address.map_or_else(|| listen.to_owned(), |address| address.to_string())
    };
    if let Some(vector) = &options.vector {
        let address = shown(&vector.listen, server.vector_address());
        output::announce(format_args!("listening for Vector on {address}, events go on to {}", vector.forward));
    }
    if let Some(http) = &options.http {
        output::announce(format_args!("listening for HTTP on {}", shown(&http.listen, server.http_address())));
    }
    tell_systemd(&NotifyState::Ready);
    let watchdog = tokio::spawn(feed_watchdog());
    let ended = server.run(async {
        either(&mut term, &mut int).await;
        tell_systemd(&NotifyState::Stopping);
        tokio::spawn(async move {
            either(&mut term, &mut int).await;
            process::exit(INTERRUPTED.into());
        });
    });
    let ended = ended.await;
    watchdog.abort();
    if !ended?.drained {
        output::warn(format_args!("requests under way were cut off after {} s", options.shutdown_secs));
    }
    Ok(())
}

fn on(kind: SignalKind) -> Result<Signal, CliError> {
    signal(kind).map_err(CliError::Signals)
}

async fn either(term: &mut Signal, int: &mut Signal) {
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

/// Without systemd there is nobody to tell.
fn tell_systemd(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        output::warn(format_args!("systemd could not be told: {error}"));
    }
}

async fn feed_watchdog() {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let mut every = tokio::time::interval(limit / 2);
    loop {
        every.tick().await;
        tell_systemd(&NotifyState::Watchdog);
    }
}
