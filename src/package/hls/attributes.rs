//! Attribute lists (RFC 8216bis §4.2).

/// Appends `NAME=value` pairs to a tag.
pub(super) struct Attributes<'o> {
    out: &'o mut String,
    separator: char,
}

impl<'o> Attributes<'o> {
    /// `tag` with the number sign, without the colon.
    pub fn new(out: &'o mut String, tag: &str) -> Attributes<'o> {
        out.push_str(tag);
        Attributes { out, separator: ':' }
    }

    /// Integers, decimals, enumerated strings, resolutions.
    pub fn plain(&mut self, name: &str, value: &str) {
        self.name(name);
        self.out.push_str(value);
    }

    pub fn integer(&mut self, name: &str, value: u64) {
        self.plain(name, itoa::Buffer::new().format(value));
    }

    /// A quoted string cannot hold double quotes or line ends and knows no escapes, so they are replaced.
    pub fn quoted(&mut self, name: &str, value: &str) {
        self.name(name);
        self.out.push('"');
        self.out.extend(value.chars().map(|char| match char {
            '"' => '\'',
            control if control.is_control() => ' ',
            other => other,
        }));
        self.out.push('"');
    }

    pub fn end(self) {
        self.out.push('\n');
    }

    fn name(&mut self, name: &str) {
        self.out.push(self.separator);
        self.separator = ',';
        self.out.push_str(name);
        self.out.push('=');
    }
}
