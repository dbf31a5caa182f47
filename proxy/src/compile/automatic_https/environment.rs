//! Placeholders of the environment, the only ones that are known before there is a request.

/// Fills in each `{env.NAME}`; a variable that is not set is empty. Caddy: the same.
pub(super) fn fill(text: &str) -> String {
    let mut rest = text;
    let mut filled = String::with_capacity(text.len());
    while let Some((before, after)) = rest.split_once("{env.")
        && let Some((name, after)) = after.split_once('}')
    {
        filled.push_str(before);
        filled.push_str(&std::env::var(name).unwrap_or_default());
        rest = after;
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn variables_are_filled_in_and_the_rest_stays() {
        let path = std::env::var("PATH").unwrap();
        assert_eq!(fill("a{env.PATH}b{env.PATH}"), format!("a{path}b{path}"));
        assert_eq!(fill("{env.PORTICO_NO_SUCH_VARIABLE}-"), "-");
        assert_eq!(fill("{host} {env.PATH"), "{host} {env.PATH");
    }
}
