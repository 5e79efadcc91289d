//! XML being written.

use crate::base::xml::escaped;

/// Text with elements appended to it, indented by depth.
#[derive(Default)]
pub(super) struct Xml {
    out: String,
    depth: usize,
}

impl Xml {
    pub fn new(capacity: usize) -> Xml {
        let mut out = String::with_capacity(capacity);
        out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        Xml { out, depth: 0 }
    }

    /// `<name attributes>`, closed by [`Xml::close`].
    pub fn open(&mut self, name: &str, attributes: impl FnOnce(&mut Tag<'_>)) {
        self.start(name, attributes);
        self.out.push_str(">\n");
        self.depth += 1;
    }

    pub fn close(&mut self, name: &str) {
        self.depth -= 1;
        self.indent();
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push_str(">\n");
    }

    pub fn empty(&mut self, name: &str, attributes: impl FnOnce(&mut Tag<'_>)) {
        self.start(name, attributes);
        self.out.push_str("/>\n");
    }

    pub fn text(&mut self, name: &str, text: &str) {
        self.start(name, |_| ());
        self.out.push('>');
        self.out.push_str(&escaped(text));
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push_str(">\n");
    }

    /// Text on a line of its own, for elements in which white space does not count.
    pub fn content(&mut self, text: &str) {
        self.indent();
        self.out.push_str(&escaped(text));
        self.out.push('\n');
    }

    pub fn finish(self) -> String {
        self.out
    }

    fn start(&mut self, name: &str, attributes: impl FnOnce(&mut Tag<'_>)) {
        self.indent();
        self.out.push('<');
        self.out.push_str(name);
        attributes(&mut Tag(&mut self.out));
    }

    fn indent(&mut self) {
        self.out.extend(std::iter::repeat_n(' ', self.depth));
    }
}

/// An opening tag to which attributes are added.
pub(super) struct Tag<'o>(&'o mut String);

impl Tag<'_> {
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.raw(name, &escaped(value))
    }

    pub fn integer(&mut self, name: &str, value: impl itoa::Integer) -> &mut Self {
        self.raw(name, itoa::Buffer::new().format(value))
    }

    fn raw(&mut self, name: &str, value: &str) -> &mut Self {
        self.0.push(' ');
        self.0.push_str(name);
        self.0.push_str("=\"");
        self.0.push_str(value);
        self.0.push('"');
        self
    }
}
