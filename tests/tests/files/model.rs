//! Random changes against random requests: every answer is a version of the file that there was.
//!
//! The static-server must show a version that was there while it was asked. The proxy may for a moment
//! show one that was replaced just before, since it hears of changes; but never an older one than it
//! showed already, never a mixture or a part of one, and in the end the last. An entity tag stands
//! for one content for ever. `PORTICO_MODEL_SEED` repeats a run.

use std::collections::HashMap;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context as _, bail, ensure};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::{Client, StatusCode};
use tests::stack::Stack;
use tests::wait;

const NAMES: [&str; 5] = ["a.txt", "b.css", "d/a.txt", "d/index.html", "e/c.bin"];
const CHANGES: usize = 400;
const REQUESTS: usize = 400;

/// What a name holds, or held, from one moment to another.
#[derive(Clone, Debug)]
struct State {
    from: u64,
    /// The moment at which it was gone for sure; `u64::MAX` while it is there.
    until: u64,
    content: Content,
}

#[derive(Clone, Debug, PartialEq)]
enum Content {
    /// No such file.
    None,
    Whole(Arc<[u8]>),
    /// While it is written: any beginning of it.
    Growing(Arc<[u8]>),
}

/// Every state that each name was in, on a clock that counts beginnings and ends of changes and
/// requests.
#[derive(Debug, Default)]
struct History {
    clock: AtomicU64,
    states: Mutex<HashMap<&'static str, Vec<State>>>,
}

impl History {
    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// Notes a change: `during` it, and afterwards.
    fn change(
        &self,
        name: &'static str,
        during: Option<Content>,
        after: Content,
        act: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        // Both the old and the new content are possible until the change has returned.
        let from = self.now();
        {
            let mut states = self.states.lock();
            let states = states.entry(name).or_default();
            let states_to_come = during.into_iter().chain([after]);
            states.extend(states_to_come.map(|content| State {
                from,
                until: u64::MAX,
                content,
            }));
        }
        act()?;
        let until = self.now();
        let mut states = self.states.lock();
        let states = states.entry(name).or_default();
        let last = states.len() - 1;
        for state in &mut states[..last] {
            state.until = state.until.min(until);
        }
        Ok(())
    }

    /// The positions of the states that an answer may show.
    fn matching(
        &self,
        name: &str,
        answer: &Answer,
        is_possible: impl Fn(&State) -> bool,
    ) -> Vec<usize> {
        let states = self.states.lock();
        let states = states.get(name).map_or(&[][..], Vec::as_slice);
        let is_shown = |state: &State| is_possible(state) && answer.shows(&state.content);
        (0..states.len())
            .filter(|at| is_shown(&states[*at]))
            .collect()
    }

    fn last(&self, name: &str) -> Content {
        let states = self.states.lock();
        states
            .get(name)
            .and_then(|states| states.last())
            .map_or(Content::None, |state| state.content.clone())
    }
}

/// What a client saw.
#[derive(Debug)]
enum Answer {
    NotFound,
    Whole(Vec<u8>),
    /// First byte, size of the whole file, bytes.
    Part(usize, usize, Vec<u8>),
}

impl Answer {
    fn shows(&self, content: &Content) -> bool {
        match (self, content) {
            (Self::NotFound, content) => *content == Content::None,
            (_, Content::None) => false,
            (Self::Whole(bytes), Content::Whole(content)) => bytes[..] == content[..],
            (Self::Whole(bytes), Content::Growing(content)) => content.starts_with(bytes),
            (Self::Part(first, size, bytes), Content::Whole(content)) => {
                *size == content.len() && content[*first..].starts_with(bytes)
            }
            (Self::Part(first, size, bytes), Content::Growing(content)) => {
                *size <= content.len() && content[*first..].starts_with(bytes)
            }
        }
    }
}

/// Changes files in every way that deployments and apps do.
struct Writer {
    history: Arc<History>,
    folder: PathBuf,
    random: StdRng,
    version: u64,
}

impl Writer {
    fn run(mut self) -> anyhow::Result<()> {
        for _ in 0..CHANGES {
            let name = NAMES[self.random.random_range(0..NAMES.len())];
            let path = self.folder.join(name);
            match self.random.random_range(0..10) {
                0 => self
                    .history
                    .clone()
                    .change(name, None, Content::None, || remove(&path))?,
                1..5 => {
                    let content = self.content(None);
                    let aside = self.folder.join("aside.tmp");
                    std::fs::write(&aside, &content)?;
                    let after = Content::Whole(content);
                    self.history
                        .change(name, None, after, || Ok(std::fs::rename(&aside, &path)?))?;
                }
                5..8 => {
                    let content = self.content(None);
                    let during = Content::Growing(Arc::clone(&content));
                    let after = Content::Whole(Arc::clone(&content));
                    let write = || Ok(std::fs::write(&path, &content)?);
                    self.history.change(name, Some(during), after, write)?;
                }
                // In place, of the same size: only the time tells it from what was there.
                _ => {
                    let Content::Whole(old) = self.history.last(name) else {
                        continue;
                    };
                    if old.len() > 4096 {
                        continue;
                    }
                    let content = self.content(Some(old.len()));
                    let after = Content::Whole(Arc::clone(&content));
                    let write = || {
                        let file = std::fs::File::options().write(true).open(&path)?;
                        Ok(file.write_all_at(&content, 0)?)
                    };
                    self.history.change(name, None, after, write)?;
                }
            }
            std::thread::sleep(std::time::Duration::from_millis(
                self.random.random_range(0..12),
            ));
        }
        Ok(())
    }

    /// Content that no other version has.
    fn content(&mut self, size: Option<usize>) -> Arc<[u8]> {
        self.version += 1;
        let size = size.unwrap_or_else(|| match self.random.random_range(0..8) {
            0 => self.random.random_range(100_000..600_000),
            1 => self.random.random_range(4096..70_000),
            _ => self.random.random_range(64..4096),
        });
        let mut content = format!("version {:08} ", self.version).into_bytes();
        let mut filler = StdRng::seed_from_u64(self.version);
        content.resize_with(size.max(content.len()), || filler.random());
        content.into()
    }
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => Ok(other?),
    }
}

/// Asks one server again and again, one request after the other.
struct Reader {
    history: Arc<History>,
    client: Client,
    base: String,
    /// Whether it answers from what is there while it is asked.
    is_strict: bool,
    random: StdRng,
    tags: HashMap<(String, &'static str), Vec<u8>>,
    newest: HashMap<&'static str, usize>,
    /// Transfers that broke off because the file changed meanwhile.
    broken: usize,
}

impl Reader {
    async fn run(mut self, stop: Arc<AtomicBool>) -> anyhow::Result<(usize, usize)> {
        let mut asked = 0;
        while asked < REQUESTS || !stop.load(Ordering::SeqCst) {
            asked += 1;
            let name = NAMES[self.random.random_range(0..NAMES.len())];
            let begin = self.history.now();
            let is_part = self.random.random_range(0..4) == 0;
            let Some(answer) = self.ask(name, is_part).await? else {
                self.broken += 1;
                continue;
            };
            let end = self.history.now();
            let is_strict = self.is_strict;
            let is_possible =
                |state: &State| state.from <= end && (!is_strict || begin <= state.until);
            let matching = self.history.matching(name, &answer, is_possible);
            let newest = self.newest.entry(name).or_default();
            match matching.iter().find(|at| **at >= *newest) {
                Some(shown) => *newest = *shown,
                None => {
                    let what = format!("{answer:?}");
                    bail!(
                        "{}{name}: no version, or an older one: {what:.200}",
                        self.base
                    );
                }
            }
        }
        Ok((asked, self.broken))
    }

    /// What is answered; `None` when the transfer broke off.
    async fn ask(&mut self, name: &'static str, is_part: bool) -> anyhow::Result<Option<Answer>> {
        let mut request = self.client.get(format!("{}{name}", self.base));
        let first = self.random.random_range(0..48);
        let tag = self
            .tags
            .keys()
            .find(|(_, of)| *of == name)
            .map(|(tag, _)| tag.clone());
        let tag = tag.filter(|_| self.random.random_range(0..3) == 0);
        if is_part {
            request = request.header("range", format!("bytes={first}-"));
        } else if let Some(tag) = &tag {
            request = request.header("if-none-match", tag);
        }
        let response = match request.send().await {
            // Before anything of the answer was on its way.
            Err(error) if !error.is_connect() => return Ok(None),
            other => other.context("asking")?,
        };
        let status = response.status();
        let tag_shown = response
            .headers()
            .get("etag")
            .and_then(|tag| tag.to_str().ok());
        let tag_shown = tag_shown.unwrap_or_default().to_owned();
        let length = response.content_length();
        let range = response.headers().get("content-range").cloned();
        let Ok(body) = response.bytes().await else {
            return Ok(None);
        };
        match status {
            StatusCode::NOT_FOUND => Ok(Some(Answer::NotFound)),
            // Changed again and again while it was looked at.
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY => Ok(None),
            // Asked for more than was there while it was written.
            StatusCode::RANGE_NOT_SATISFIABLE => Ok(None),
            StatusCode::NOT_MODIFIED => {
                let known = self.tags.get(&(tag.context("not asked for")?, name));
                Ok(Some(Answer::Whole(known.context("another tag")?.clone())))
            }
            StatusCode::PARTIAL_CONTENT => {
                let range = range.context("no range")?;
                let size = range
                    .to_str()?
                    .rsplit_once('/')
                    .context("no size")?
                    .1
                    .parse()?;
                ensure!(
                    first + body.len() == size,
                    "{range:?} and {} bytes",
                    body.len()
                );
                Ok(Some(Answer::Part(first, size, body.to_vec())))
            }
            StatusCode::OK => {
                ensure!(
                    length.is_none_or(|length| length == body.len() as u64),
                    "wrong length"
                );
                if tag_shown.starts_with('"') {
                    let known = self
                        .tags
                        .entry((tag_shown.clone(), name))
                        .or_insert_with(|| body.to_vec());
                    ensure!(
                        *known == body,
                        "{tag_shown} stands for two contents of {name}"
                    );
                }
                Ok(Some(Answer::Whole(body.to_vec())))
            }
            other => bail!("{name}: {other}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_a_version_that_there_was() -> anyhow::Result<()> {
    let seed = match std::env::var("PORTICO_MODEL_SEED") {
        Ok(seed) => seed.parse().context("PORTICO_MODEL_SEED")?,
        Err(_) => rand::random(),
    };
    println!("PORTICO_MODEL_SEED={seed}");
    let mut stack = Stack::new()?;
    // With several workers, each with a memory of its own, or with several clients of one, a client
    // could go back in time until the change is told.
    stack
        .environment
        .push(("PORTICO_WORKERS".into(), "1".into()));
    stack.write_caddyfile(
        "localhost {\n\troot * /srv/static\n\tfile_server {\n\t\tindex none\n\t}\n}",
    )?;
    stack.start_all().await?;
    for folder in ["d", "e"] {
        std::fs::create_dir(stack.path("static").join(folder))?;
    }
    let history = Arc::new(History::default());
    for name in NAMES {
        history.change(name, None, Content::None, || Ok(()))?;
    }
    let writer = Writer {
        history: Arc::clone(&history),
        folder: stack.path("static"),
        random: StdRng::seed_from_u64(seed),
        version: 0,
    };
    let stop = Arc::new(AtomicBool::new(false));
    let edge = stack.https("localhost", "/");
    let direct = format!("http://127.0.0.1:{}/srv/static/", stack.ports.files);
    let mut readers = Vec::new();
    for (number, (base, is_strict)) in [(&direct, true), (&edge, false)].into_iter().enumerate() {
        let reader = Reader {
            history: Arc::clone(&history),
            client: if is_strict {
                tests::client::plain()?
            } else {
                stack.client()?
            },
            base: base.clone(),
            is_strict,
            random: StdRng::seed_from_u64(seed.wrapping_add(number as u64 + 1)),
            tags: HashMap::new(),
            newest: HashMap::new(),
            broken: 0,
        };
        readers.push(tokio::spawn(reader.run(Arc::clone(&stop))));
    }
    let written = tokio::task::spawn_blocking(|| writer.run()).await?;
    stop.store(true, Ordering::SeqCst);
    written?;
    for reader in readers {
        let (asked, broken) = reader.await??;
        ensure!(
            broken < asked / 2,
            "{broken} of {asked} transfers broke off"
        );
    }
    let client = stack.client()?;
    for name in NAMES {
        let last = history.last(name);
        wait::until(&format!("{name} is as it was left"), async || {
            let response = client.get(format!("{edge}{name}")).send().await?;
            let answer = match response.status() {
                StatusCode::NOT_FOUND => Answer::NotFound,
                _ => Answer::Whole(response.bytes().await?.to_vec()),
            };
            ensure!(answer.shows(&last), "another version");
            Ok(())
        })
        .await?;
    }
    Ok(())
}
