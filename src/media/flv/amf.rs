//! Action Message Format 0 (AMF 0 Specification, Adobe, 2007): what RTMP's commands and FLV's script data are written in.
//!
//! [`read`] allocates in proportion to the bytes it is given: counts from outside are never trusted, and nesting is
//! bounded. References and typed objects, which no encoder sends, are understood as far as is needed to pass over them.

use thiserror::Error;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Number(f64),
    Boolean(bool),
    /// UTF-8 by specification, whatever the peer wrote in fact.
    String(Vec<u8>),
    /// Objects and ECMA arrays, in the order of the properties.
    Object(Vec<(String, Value)>),
    Array(Vec<Value>),
    /// Milliseconds since 1970, UTC.
    Date(f64),
    Null,
    Undefined,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    #[error("AMF value at byte {at}: ends after {left} of {wanted} bytes")]
    Short { at: usize, wanted: usize, left: usize },
    #[error("AMF value at byte {at}: marker 0x{marker:02x}; expected one of AMF 0")]
    Marker { at: usize, marker: u8 },
    #[error("AMF value at byte {at}: nested more than {DEPTH_MAX} deep")]
    Depth { at: usize },
    #[error("AMF message: more than {VALUES_MAX} values")]
    Values,
}

/// Nesting of objects and arrays. Enhanced RTMP's metadata goes three deep.
pub const DEPTH_MAX: usize = 16;
/// Values in one message, properties included. The metadata of real encoders has fewer than a hundred.
pub const VALUES_MAX: usize = 4096;

// Type markers (§2.1).
const NUMBER: u8 = 0;
const BOOLEAN: u8 = 1;
const STRING: u8 = 2;
const OBJECT: u8 = 3;
const NULL: u8 = 5;
const UNDEFINED: u8 = 6;
const REFERENCE: u8 = 7;
const ECMA_ARRAY: u8 = 8;
const OBJECT_END: u8 = 9;
const STRICT_ARRAY: u8 = 10;
const DATE: u8 = 11;
const LONG_STRING: u8 = 12;
const UNSUPPORTED: u8 = 13;
const XML: u8 = 15;
const TYPED_OBJECT: u8 = 16;

impl Value {
    pub fn string(text: &str) -> Value {
        Value::String(text.as_bytes().to_vec())
    }

    pub fn object<const N: usize>(properties: [(&str, Value); N]) -> Value {
        Value::Object(properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// A property of an object. The first counts, as in every player.
    pub fn property(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Object(properties) => properties.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Value::String(bytes) => str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub fn boolean(&self) -> Option<bool> {
        match self {
            Value::Boolean(value) => Some(*value),
            // Some encoders write flags as numbers.
            Value::Number(number) => Some(*number != 0.0),
            _ => None,
        }
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Value::Number(number) => {
                out.push(NUMBER);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Value::Boolean(value) => out.extend_from_slice(&[BOOLEAN, u8::from(*value)]),
            Value::String(bytes) => match u16::try_from(bytes.len()) {
                Ok(length) => {
                    out.push(STRING);
                    out.extend_from_slice(&length.to_be_bytes());
                    out.extend_from_slice(bytes);
                }
                Err(_) => {
                    out.push(LONG_STRING);
                    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
                    out.extend_from_slice(bytes);
                }
            },
            Value::Object(properties) => {
                out.push(OBJECT);
                for (name, value) in properties {
                    let name = &name.as_bytes()[..name.len().min(usize::from(u16::MAX))];
                    out.extend_from_slice(&(name.len() as u16).to_be_bytes());
                    out.extend_from_slice(name);
                    value.write(out);
                }
                out.extend_from_slice(&[0, 0, OBJECT_END]);
            }
            Value::Array(values) => {
                out.push(STRICT_ARRAY);
                out.extend_from_slice(&(values.len() as u32).to_be_bytes());
                values.iter().for_each(|value| value.write(out));
            }
            Value::Date(millis) => {
                out.push(DATE);
                out.extend_from_slice(&millis.to_be_bytes());
                out.extend_from_slice(&[0, 0]); // time zone, reserved
            }
            Value::Null => out.push(NULL),
            Value::Undefined => out.push(UNDEFINED),
        }
    }
}

/// The values of a message, one after the other.
pub fn write<'a>(values: impl IntoIterator<Item = &'a Value>) -> Vec<u8> {
    let mut out = Vec::new();
    values.into_iter().for_each(|value| value.write(&mut out));
    out
}

/// All values of a message.
pub fn read(bytes: &[u8]) -> Result<Vec<Value>, Error> {
    match values(bytes) {
        (values, None) => Ok(values),
        (_, Some(error)) => Err(error),
    }
}

/// The values of a message up to the first that is none of AMF 0, which must not be the first of all: commands of clients
/// that prefer AMF 3 go on in it, after what counts.
pub fn read_front(bytes: &[u8]) -> Result<Vec<Value>, Error> {
    match values(bytes) {
        (values, Some(error)) if values.is_empty() => Err(error),
        (values, _) => Ok(values),
    }
}

fn values(bytes: &[u8]) -> (Vec<Value>, Option<Error>) {
    let mut reader = Reader { bytes, at: 0, values: 0 };
    let mut values = Vec::new();
    while reader.at < bytes.len() {
        match reader.value(0) {
            Ok(value) => values.push(value),
            Err(error) => return (values, Some(error)),
        }
    }
    (values, None)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Read so far.
    values: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, wanted: usize) -> Result<&'a [u8], Error> {
        let left = &self.bytes[self.at..];
        let taken = left.get(..wanted).ok_or(Error::Short { at: self.at, wanted, left: left.len() })?;
        self.at += wanted;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        Ok(*self.take(N)?.first_chunk().expect("took as many bytes as it has"))
    }

    fn short_string(&mut self) -> Result<&'a [u8], Error> {
        let length = u16::from_be_bytes(self.array()?);
        self.take(usize::from(length))
    }

    fn value(&mut self, depth: usize) -> Result<Value, Error> {
        let at = self.at;
        if depth > DEPTH_MAX {
            return Err(Error::Depth { at });
        }
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(Error::Values);
        }
        Ok(match self.array::<1>()?[0] {
            NUMBER => Value::Number(f64::from_be_bytes(self.array()?)),
            BOOLEAN => Value::Boolean(self.array::<1>()?[0] != 0),
            STRING => Value::String(self.short_string()?.to_vec()),
            OBJECT => Value::Object(self.properties(depth)?),
            TYPED_OBJECT => {
                self.short_string()?;
                Value::Object(self.properties(depth)?)
            }
            // The count is a hint that encoders get wrong: the end marker decides (§2.10).
            ECMA_ARRAY => {
                self.take(4)?;
                Value::Object(self.properties(depth)?)
            }
            STRICT_ARRAY => {
                let count = u32::from_be_bytes(self.array()?);
                let mut values = Vec::new();
                for _ in 0..count {
                    values.push(self.value(depth + 1)?);
                }
                Value::Array(values)
            }
            DATE => {
                let millis = f64::from_be_bytes(self.array()?);
                self.take(2)?;
                Value::Date(millis)
            }
            LONG_STRING | XML => {
                let length = u32::from_be_bytes(self.array()?);
                Value::String(self.take(length as usize)?.to_vec())
            }
            NULL => Value::Null,
            UNDEFINED | UNSUPPORTED => Value::Undefined,
            REFERENCE => {
                self.take(2)?;
                Value::Undefined
            }
            marker => return Err(Error::Marker { at, marker }),
        })
    }

    fn properties(&mut self, depth: usize) -> Result<Vec<(String, Value)>, Error> {
        let mut properties = Vec::new();
        loop {
            // An object that ends with its message lacks the end marker in the metadata of some encoders.
            if self.at == self.bytes.len() {
                return Ok(properties);
            }
            let name = self.short_string()?;
            if name.is_empty() && self.bytes.get(self.at) == Some(&OBJECT_END) {
                self.at += 1;
                return Ok(properties);
            }
            properties.push((String::from_utf8_lossy(name).into_owned(), self.value(depth + 1)?));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i32>().prop_map(|number| Value::Number(f64::from(number) / 8.0)),
            any::<bool>().prop_map(Value::Boolean),
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(Value::String),
            any::<i32>().prop_map(|millis| Value::Date(f64::from(millis))),
            Just(Value::Null),
            Just(Value::Undefined),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(("[a-z]{1,9}", inner.clone()), 0..6).prop_map(Value::Object),
                proptest::collection::vec(inner, 0..6).prop_map(Value::Array),
            ]
        })
    }

    #[test]
    fn values_as_the_specification_spells_them() {
        let object = |properties: &[(&str, Value)]| {
            Value::Object(properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
        };
        for (bytes, want) in [
            (&b"\x00\x40\x59\0\0\0\0\0\0"[..], Ok(vec![Value::Number(100.0)])),
            (b"\x01\x01", Ok(vec![Value::Boolean(true)])),
            (b"\x02\0\x02hi\x05", Ok(vec![Value::string("hi"), Value::Null])),
            (b"\x03\0\x01a\x05\0\0\x09", Ok(vec![object(&[("a", Value::Null)])])),
            (b"\x08\xFF\xFF\xFF\xFF\0\x01a\x06\0\0\x09", Ok(vec![object(&[("a", Value::Undefined)])])),
            (b"\x08\0\0\0\x01\0\x01a\x06", Ok(vec![object(&[("a", Value::Undefined)])])),
            (b"\x10\0\x03Foo\0\0\x09", Ok(vec![object(&[])])),
            (b"\x0A\0\0\0\x02\x05\x05", Ok(vec![Value::Array(vec![Value::Null, Value::Null])])),
            (b"\x0C\0\0\0\x01x", Ok(vec![Value::string("x")])),
            (b"\x0A\xFF\xFF\xFF\xFF\x05", Err(Error::Short { at: 6, wanted: 1, left: 0 })),
            (b"\x0C\xFF\xFF\xFF\xFF\x05", Err(Error::Short { at: 5, wanted: 0xFFFF_FFFF, left: 1 })),
            (b"\x02\0\x05hi", Err(Error::Short { at: 3, wanted: 5, left: 2 })),
            (b"\x11\x04", Err(Error::Marker { at: 0, marker: 0x11 })),
        ] {
            assert_eq!(read(bytes), want, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn nesting_and_number_are_bounded() {
        let nested = b"\x0A\0\0\0\x01".repeat(1000);
        assert_eq!(read(&nested), Err(Error::Depth { at: 5 * (DEPTH_MAX + 1) }));
        assert_eq!(read(&[NULL; VALUES_MAX + 1]), Err(Error::Values));
        assert!(read(&[NULL; VALUES_MAX]).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(values in proptest::collection::vec(any_value(), 0..5)) {
            prop_assert_eq!(read(&write(&values)), Ok(values));
        }

        #[test]
        fn other_bytes_are_refused_or_read(bytes in proptest::collection::vec(prop_oneof![0u8..18, any::<u8>()], 0..300)) {
            let _ = read(&bytes);
        }

        #[test]
        fn values_cut_short_never_panic(values in proptest::collection::vec(any_value(), 1..4), cut in 0usize..400) {
            let bytes = write(&values);
            let _ = read(&bytes[..cut.min(bytes.len())]);
        }
    }
}
