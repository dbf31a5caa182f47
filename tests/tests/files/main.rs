//! Files through the edge: HTTP's conditions and ranges, what must not be reachable, and changes.

mod changes;
mod confinement;
mod handoff;
mod listings;
mod model;
mod representations;
mod uploads;

use tests::stack::Stack;

/// The file that most tests ask for.
const TEXT: &str = "0123456789";

/// A stack that serves its `static` folder as the site `localhost`.
async fn serve() -> anyhow::Result<Stack> {
    let stack = Stack::start(
        "localhost {
	root * /srv/static
	file_server {
		precompressed br gzip
	}
}",
    )
    .await?;
    std::fs::write(stack.path("static/digits.txt"), TEXT)?;
    Ok(stack)
}
