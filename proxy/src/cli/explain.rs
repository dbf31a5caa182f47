//! `proxy explain`: the way of one request through the compiled routes.

use caddyfile::document::Origin;
use caddyfile::token::Sources;
use downstream::ListenAddress;
use http::header::LOCATION;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri};
use proto::sidecar::cli::Exit;
use serde_json::json;

use super::{ExplainArgs, complain, print};
use crate::body::ResponseBody;
use crate::compile::{CompileContext, Config};
use crate::config_file::ConfigFile;
use crate::rehearsal::rehearse;
use crate::route::trace::{Part, Result as Outcome, Step};

/// What a request would do.
struct Explanation {
    server: String,
    listen: String,
    steps: Vec<Step>,
    answer: Option<Response<ResponseBody>>,
    sources: Sources,
}

pub(super) fn explain(args: &ExplainArgs) -> Exit {
    match explanation(args) {
        Ok(explanation) => {
            let text = if args.json {
                format!("{:#}\n", explanation.as_json())
            } else {
                explanation.as_text()
            };
            print(&text);
            Exit::Done
        }
        Err(message) => {
            complain(&message);
            Exit::Usage
        }
    }
}

fn explanation(args: &ExplainArgs) -> Result<Explanation, String> {
    let loaded = ConfigFile::from_argument(&args.config)
        .load()
        .map_err(|error| error.report.coloured)?;
    let sources = loaded.sources.clone();
    let context = CompileContext {
        is_explained: true,
        ..CompileContext::default()
    };
    let (config, ..) = loaded
        .compile_for(&context)
        .map_err(|error| error.report.coloured)?;
    let request = request(args).map_err(|message| format!("error: {message}\n"))?;
    let is_tls = request.uri().scheme_str() == Some("https");
    let default = if is_tls {
        config.https_port
    } else {
        config.http_port
    };
    let port = request.uri().port_u16().unwrap_or(default);
    let (index, address) = server_at(&config, port).ok_or_else(|| {
        let listen = config.servers.iter().flat_map(|server| &server.listen);
        let listen: Vec<String> = listen.map(ToString::to_string).collect();
        format!(
            "error: nothing listens on port {port}\n  hint: the configuration listens on {}\n",
            listen.join(", ")
        )
    })?;
    let mut explanation = Explanation {
        server: config.servers[index].name.to_string(),
        listen: address.to_string(),
        steps: Vec::new(),
        answer: None,
        sources,
    };
    let rehearsal = rehearse(config, address, request, &args.static_server)
        .map_err(|message| format!("error: {message}\n"))?;
    (explanation.steps, explanation.answer) = (rehearsal.steps, rehearsal.answer);
    Ok(explanation)
}

/// The request that the arguments describe.
fn request(args: &ExplainArgs) -> Result<Request<()>, String> {
    let url = if args.url.contains("://") {
        args.url.clone()
    } else {
        format!("https://{}", args.url)
    };
    let uri: Uri = url
        .parse()
        .map_err(|error| format!("`{url}` is no URL: {error}"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(format!("`{url}` is no URL of http: or https:"));
    }
    let method: Method = args
        .method
        .parse()
        .map_err(|_| format!("`{}` is no method", args.method))?;
    let mut request = Request::builder().method(method).uri(uri);
    for field in &args.header {
        let (name, value) = field
            .split_once(':')
            .ok_or_else(|| format!("`{field}` is no field: write `NAME: VALUE`"))?;
        let name: HeaderName = name
            .trim()
            .parse()
            .map_err(|_| format!("`{name}` is no name of a field"))?;
        let value = HeaderValue::from_str(value.trim())
            .map_err(|_| format!("`{value}` is no value of a field"))?;
        request = request.header(name, value);
    }
    request
        .body(())
        .map_err(|error| format!("this is no request: {error}"))
}

fn server_at(config: &Config, port: u16) -> Option<(usize, ListenAddress)> {
    let servers = config.servers.iter().enumerate();
    let mut found = servers.filter_map(|(index, server)| {
        let address = server.listen.iter().find(|address| match address {
            ListenAddress::Any(own) => *own == port,
            ListenAddress::Exact(address) => address.port() == port,
        })?;
        Some((index, *address))
    });
    found.next()
}

impl Explanation {
    fn as_text(&self) -> String {
        let mut text = format!("server {} on {}\n", self.server, self.listen);
        for step in &self.steps {
            let depth = step.note.path.matches(".handle[").count();
            let place = self.place(step.note.origin);
            let place = place.unwrap_or_else(|| step.note.path.to_string());
            let indent = "  ".repeat(depth);
            let what = match (step.note.part, &*step.note.text) {
                (Part::Route, "") => "every request".to_owned(),
                (Part::Route, matchers) => format!("if {matchers}"),
                (Part::Handler, handler) => handler.to_owned(),
            };
            let result = match &step.result {
                Outcome::Taken if step.note.part == Part::Route => "taken".to_owned(),
                Outcome::Taken => String::new(),
                Outcome::PassedOver(reason) => format!("passed over: {reason}"),
                Outcome::Answers(how) => format!("answers: {how}"),
                Outcome::Assumed(what) => what.clone(),
            };
            let separator = if result.is_empty() { "" } else { " -> " };
            text.push_str(&format!("{indent}{place}: {what}{separator}{result}\n"));
        }
        text.push_str(&format!("answer: {}\n", self.answer_in_words()));
        text
    }

    fn answer_in_words(&self) -> String {
        if let Some(how) = self.answering() {
            return how.to_owned();
        }
        let Some(answer) = &self.answer else {
            return "the connection is closed".to_owned();
        };
        let status = answer.status();
        match answer.headers().get(LOCATION).map(HeaderValue::to_str) {
            Some(Ok(location)) => format!("{status}, {location}"),
            _ => status.to_string(),
        }
    }

    /// What the handler does that was not run.
    fn answering(&self) -> Option<&str> {
        self.steps.iter().find_map(|step| match &step.result {
            Outcome::Answers(how) => Some(how.as_str()),
            _ => None,
        })
    }

    fn place(&self, origin: Option<Origin>) -> Option<String> {
        let span = origin?.span;
        let name = self.sources.name(span.source);
        Some(format!("{name}:{}:{}", span.line, span.column))
    }

    fn as_json(&self) -> serde_json::Value {
        let steps = self.steps.iter().map(|step| {
            let (result, reason) = match &step.result {
                Outcome::Taken => ("taken", None),
                Outcome::PassedOver(reason) => ("passed_over", Some(reason)),
                Outcome::Answers(how) => ("answers", Some(how)),
                Outcome::Assumed(what) => ("assumed", Some(what)),
            };
            let part = match step.note.part {
                Part::Handler => "handler",
                Part::Route => "route",
            };
            json!({
                "part": part,
                "path": step.note.path,
                "place": self.place(step.note.origin),
                "text": step.note.text,
                "result": result,
                "reason": reason,
            })
        });
        json!({
            "server": self.server,
            "listen": self.listen,
            "steps": steps.collect::<Vec<_>>(),
            "answer": self.answer_in_words(),
        })
    }
}
