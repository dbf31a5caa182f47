//! Logs of the process and of sites.

use super::listener::Association;
use super::site::Site;
use crate::directive::SiteLog;
use crate::document::{CustomLog, Logging};
use crate::options::Options;

const DEFAULT: &str = "default";

/// The logging app, or `None` where nothing is said about logs.
pub(super) fn build(
    associations: &[Association],
    sites: &[Site<'_>],
    options: &Options,
) -> Option<Logging> {
    let mut logs: Vec<SiteLog> = options.logs.clone();
    if options.debug && !logs.iter().any(|log| log.name == DEFAULT) {
        let log = Some(CustomLog::default());
        logs.push(SiteLog {
            name: DEFAULT.to_owned(),
            log,
            ..SiteLog::default()
        });
    }
    for view in associations
        .iter()
        .flat_map(|association| &association.sites)
    {
        logs.extend(
            sites[view.site]
                .logs
                .iter()
                .filter(|log| !log.name.is_empty())
                .cloned(),
        );
    }

    let mut logging = Logging::default();
    // The default log comes first: the others may add to what it excludes.
    logs.sort_by_key(|log| log.name != DEFAULT);
    for SiteLog { name, log, .. } in logs {
        let Some(mut log) = log else { continue };
        if options.debug && log.level.is_empty() {
            log.level = "DEBUG".to_owned();
        }
        if name == DEFAULT {
            logging.logs.entry(name).or_insert(log);
            continue;
        }
        // What a log of its own takes is left out of the default one.
        if !log.include.is_empty() {
            let default = logging.logs.entry(DEFAULT.to_owned()).or_default();
            default.exclude.extend(log.include.iter().cloned());
            default.exclude.sort();
            default.exclude.dedup();
        }
        logging.logs.insert(name, log);
    }
    (!logging.logs.is_empty()).then_some(logging)
}
