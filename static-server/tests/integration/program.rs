//! The program itself: command line, exit status, signals.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use proto::sidecar::identity::Role;
use tempfile::TempDir;

use crate::authority::Authority;

struct Program {
    child: Child,
    log: BufReader<ChildStderr>,
    folder: TempDir,
    address: String,
    events_address: String,
}

impl Program {
    fn serve() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::create_dir(path("volume")).unwrap();
        std::fs::write(path("volume/a.txt"), "hello").unwrap();
        let mut child = command()
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--events-listen",
                "127.0.0.1:0",
            ])
            .args(["--control", &path("control"), "--log-format", "json"])
            .args(["--admin", &format!("unix:{}", path("admin.sock"))])
            .env(
                "PORTICO_VOLUME",
                format!("/srv={},/late={}", path("volume"), path("late")),
            )
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let ready = wait_for_line(&mut log, "static-server is ready");
        let field = |name: &str| ready[name].as_str().unwrap().to_owned();
        let (address, events_address) = (field("listen"), field("events_listen"));
        Self {
            child,
            log,
            folder,
            address,
            events_address,
        }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn health(&self) -> Output {
        let admin = format!("unix:{}", self.path("admin.sock"));
        command()
            .args(["health", "--admin", &admin])
            .output()
            .unwrap()
    }

    fn status(&self, control: &str, more: &[&str]) -> Output {
        command()
            .args([
                "status",
                "--control",
                control,
                "--events-listen",
                &self.events_address,
            ])
            .args(more)
            .output()
            .unwrap()
    }

    fn terminate(mut self) -> i32 {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        wait_for_line(&mut self.log, "every request was finished");
        self.child.wait().unwrap().code().unwrap()
    }
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_static-server"));
    command.env_clear();
    command
}

fn wait_for_line(log: &mut impl std::io::BufRead, message: &str) -> serde_json::Value {
    loop {
        let mut line = String::new();
        assert!(
            log.read_line(&mut line).unwrap() > 0,
            "the log ended before `{message}`"
        );
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        if line["message"] == message {
            return line;
        }
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn serves_reports_and_ends() {
    let program = Program::serve();
    assert!(
        program.health().status.success(),
        "{}",
        stderr(&program.health())
    );
    let mut stream = std::net::TcpStream::connect(&program.address).unwrap();
    std::io::Write::write_all(&mut stream, b"GET /srv/a.txt HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut first = String::new();
    BufReader::new(&stream).read_line(&mut first).unwrap();
    assert_eq!(first, "HTTP/1.1 200 OK\r\n");

    // The identity appears while the program waits for it, as when cert-manager starts later.
    let (authority, control) = (Authority::new(), program.path("control"));
    authority.write(Role::StaticServer, Path::new(&control));
    let operators = program.path("roles");
    authority.write(Role::Operator, &Path::new(&operators).join("operator"));
    let start = std::time::Instant::now();
    let output = loop {
        let output = program.status(&control, &["--json"]);
        if output.status.success() {
            break output;
        }
        assert!(
            start.elapsed() < crate::support::PATIENCE,
            "{}",
            stderr(&output)
        );
    };
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["volumes"][0]["files"], 1);
    assert_eq!(status["volumes"][0]["watched_by"], "inotify");
    assert_eq!(status["volumes"][1]["is_available"], false);
    let table = program.status(&operators, &[]);
    assert!(
        String::from_utf8_lossy(&table.stdout).contains("/srv"),
        "{}",
        stderr(&table)
    );

    assert_eq!(program.terminate(), 0);
}

#[test]
fn mistakes_are_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", folder.path().join("none.sock").display());
    let none = folder.path().display().to_string();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["serve", "--volume", "/srv"], 2, "PATH=DIR"),
        (
            &["serve", "--volume", "/a=/x", "--volume", "/a=/y"],
            2,
            "two volumes",
        ),
        (
            &["serve", "--log-level", "loud=very=wrong"],
            2,
            "no log level",
        ),
        (&["serve", "--listen", "7100"], 2, "--listen"),
        (&["health", "--admin", &socket], 1, "--admin"),
        (
            &["status", "--control", &none],
            1,
            "cert-manager writes one",
        ),
        (
            &["serve", "--listen", "192.0.2.1:1", "--admin", &socket],
            1,
            "--listen",
        ),
    ];
    for (args, code, words) in cases {
        let output = command().args(*args).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(*code),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(words),
            "{args:?}: {}",
            stderr(&output)
        );
    }
}

/// In a user namespace of its own a program can be given fewer watches, where the system allows
/// such namespaces.
#[test]
fn without_watches_files_are_served_and_the_log_says_what_to_do() {
    let limited = |script: &str| {
        let mut command = Command::new("unshare");
        let limit = "echo 2 >/proc/sys/user/max_inotify_watches";
        command.args(["-Ur", "sh", "-c", &format!("{limit} && {script}")]);
        command
    };
    if !limited("true")
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
    {
        println!("left out: this system does not let a program limit its watches");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    for name in ["a", "b", "c"] {
        std::fs::create_dir_all(path(&format!("volume/{name}"))).unwrap();
    }
    let program = env!("CARGO_BIN_EXE_static-server");
    let mut child = limited(&format!("exec '{program}' \"$@\""))
        .args([
            "sh",
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--events-listen",
            "127.0.0.1:0",
        ])
        .args(["--control", &path("control"), "--log-format", "json"])
        .args(["--admin", &format!("unix:{}", path("admin.sock"))])
        .args(["--volume", &format!("/srv={}", path("volume"))])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let (mut problem, mut address) = (String::new(), String::new());
    while problem.is_empty() || address.is_empty() {
        let mut line = String::new();
        assert!(log.read_line(&mut line).unwrap() > 0, "the log ended");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        match line["message"].as_str().unwrap() {
            "static-server is ready" => address = line["listen"].as_str().unwrap().to_owned(),
            text if text.starts_with("changes of files are not noticed") => {
                problem = line["problem"].as_str().unwrap().to_owned();
            }
            _ => {}
        }
    }
    assert!(problem.contains("fs.inotify.max_user_watches"), "{problem}");
    std::fs::write(path("volume/a.txt"), "x").unwrap();
    let mut stream = std::net::TcpStream::connect(&address).unwrap();
    let request = b"GET /a.txt HTTP/1.1\r\nHost: x\r\nPortico-File: root=\"/srv\"\r\nConnection: close\r\n\r\n";
    std::io::Write::write_all(&mut stream, request).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    // Nobody would hear of a change, so nobody is invited to keep it.
    assert!(!answer.contains("portico-file-path"), "{answer}");
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}
