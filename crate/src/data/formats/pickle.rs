//! Python pickles as data: the few opcodes that lists, dictionaries, texts, numbers and NumPy arrays are written with.
//!
//! Nothing is run. What a pickle would call becomes [`Value::Other`], but for what NumPy rebuilds arrays with and for
//! the encoding of bytes in pickles of protocol 2.

use std::collections::HashMap;

/// Opcodes and bytes of one pickle beyond these are refused.
const MAX_VALUES: usize = 1 << 26;

/// An index into the values that were read: they may be shared, and refer to one another.
type Id = usize;

enum Node {
    None,
    Bool(bool),
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// Something in a module.
    Global(String),
    Dtype(String),
    Array {
        shape: Vec<usize>,
        dtype: String,
        bytes: Vec<u8>,
    },
    Mark,
    Other,
}

/// A value of a pickle.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Int(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Array {
        shape: &'a [usize],
        dtype: &'a str,
        bytes: &'a [u8],
    },
    /// Anything else.
    Other,
}

/// A pickle, read.
pub(super) struct Pickle {
    nodes: Vec<Node>,
    root: Id,
}

impl Pickle {
    /// Reads a pickle of protocol 2 or later.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.first() != Some(&0x80) {
            return Err("is no pickle of protocol 2 or later".into());
        }
        let budget = bytes.len().saturating_mul(4).saturating_add(1 << 20);
        let mut reader = Reader { bytes, nodes: Vec::new(), stack: Vec::new(), memo: HashMap::new(), budget };
        let root = reader.run()?;
        Ok(Self { nodes: reader.nodes, root })
    }

    fn value(&self, id: Id) -> Value<'_> {
        match &self.nodes[id] {
            Node::Int(number) => Value::Int(*number),
            Node::Bool(value) => Value::Int((*value).into()),
            Node::Text(text) => Value::Text(text),
            Node::Bytes(bytes) => Value::Bytes(bytes),
            Node::Array { shape, dtype, bytes } => Value::Array { shape, dtype, bytes },
            _ => Value::Other,
        }
    }

    /// The text of a value; bytes count as text, as Python 2 wrote them.
    fn is_text(&self, id: Id, wanted: &str) -> bool {
        match &self.nodes[id] {
            Node::Text(text) => text == wanted,
            Node::Bytes(bytes) => bytes == wanted.as_bytes(),
            _ => false,
        }
    }

    fn entry(&self, key: &str) -> Option<Id> {
        let Node::Dict(entries) = &self.nodes[self.root] else { return None };
        entries.iter().find(|(name, _)| self.is_text(*name, key)).map(|(_, value)| *value)
    }

    /// An entry of the dictionary that the pickle is.
    pub fn get(&self, key: &str) -> Option<Value<'_>> {
        self.entry(key).map(|id| self.value(id))
    }

    /// An entry that is a list or a tuple.
    pub fn list(&self, key: &str) -> Option<Vec<Value<'_>>> {
        match &self.nodes[self.entry(key)?] {
            Node::List(items) | Node::Tuple(items) => Some(items.iter().map(|&id| self.value(id)).collect()),
            _ => None,
        }
    }

    /// The keys of the dictionary that the pickle is.
    pub fn keys(&self) -> Vec<String> {
        let Node::Dict(entries) = &self.nodes[self.root] else { return Vec::new() };
        let key = |id: Id| match &self.nodes[id] {
            Node::Text(text) => Some(text.clone()),
            Node::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        };
        entries.iter().filter_map(|(id, _)| key(*id)).collect()
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    nodes: Vec<Node>,
    stack: Vec<Id>,
    memo: HashMap<usize, Id>,
    /// Bytes that may still be copied.
    budget: usize,
}

impl Reader<'_> {
    /// Runs the opcodes (`pickletools` in Python describes them) until the end.
    fn run(&mut self) -> Result<Id, String> {
        loop {
            let [opcode] = self.fixed()?;
            match opcode {
                0x80 => drop(self.fixed::<1>()?), // PROTO
                0x95 => drop(self.fixed::<8>()?), // FRAME
                b'.' => return self.pop(),
                b'N' => self.push(Node::None)?,
                0x88 => self.push(Node::Bool(true))?,
                0x89 => self.push(Node::Bool(false))?,
                b'K' => {
                    let [value] = self.fixed()?;
                    self.push(Node::Int(value.into()))?;
                }
                b'M' => {
                    let value = u16::from_le_bytes(self.fixed()?);
                    self.push(Node::Int(value.into()))?;
                }
                b'J' => {
                    let value = i32::from_le_bytes(self.fixed()?);
                    self.push(Node::Int(value.into()))?;
                }
                0x8a => self.long()?,
                b'G' => {
                    self.fixed::<8>()?;
                    self.push(Node::Other)?;
                }
                b'U' | b'C' | 0x8c => {
                    let [length] = self.fixed()?;
                    self.string(opcode, length.into())?;
                }
                b'T' | b'B' | b'X' => {
                    let length = u32::from_le_bytes(self.fixed()?);
                    self.string(opcode, length.into())?;
                }
                0x8d | 0x8e | 0x96 => {
                    let length = u64::from_le_bytes(self.fixed()?);
                    self.string(opcode, length)?;
                }
                b'(' => self.push(Node::Mark)?,
                b'}' => self.push(Node::Dict(Vec::new()))?,
                b']' => self.push(Node::List(Vec::new()))?,
                b')' => self.push(Node::Tuple(Vec::new()))?,
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.push(Node::Tuple(items))?;
                }
                b'l' => {
                    let items = self.pop_to_mark()?;
                    self.push(Node::List(items))?;
                }
                b'd' => {
                    let items = self.pop_to_mark()?;
                    self.push(Node::Dict(pairs(&items)))?;
                }
                0x85..=0x87 => {
                    let count = usize::from(opcode - 0x84);
                    let start = self.stack.len().checked_sub(count).ok_or("is cut or damaged")?;
                    let items = self.stack.split_off(start);
                    self.push(Node::Tuple(items))?;
                }
                b'a' => {
                    let item = self.pop()?;
                    self.extend(vec![item])?;
                }
                b'e' => {
                    let items = self.pop_to_mark()?;
                    self.extend(items)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.extend(vec![key, value])?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.extend(items)?;
                }
                b'q' => {
                    let [index] = self.fixed()?;
                    self.memoize(index.into())?;
                }
                b'r' => {
                    let index = u32::from_le_bytes(self.fixed()?);
                    self.memoize(index as usize)?;
                }
                0x94 => self.memoize(self.memo.len())?,
                b'h' => {
                    let [index] = self.fixed()?;
                    self.recall(index.into())?;
                }
                b'j' => {
                    let index = u32::from_le_bytes(self.fixed()?);
                    self.recall(index as usize)?;
                }
                b'0' => drop(self.pop()?),
                b'1' => drop(self.pop_to_mark()?),
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push(Node::Global(format!("{module}.{name}")))?;
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let global = match (&self.nodes[module], &self.nodes[name]) {
                        (Node::Text(module), Node::Text(name)) => Node::Global(format!("{module}.{name}")),
                        _ => Node::Other,
                    };
                    self.push(global)?;
                }
                b'R' | 0x81 => {
                    let (arguments, function) = (self.pop()?, self.pop()?);
                    let made = self.reduce(function, arguments)?;
                    self.push(made)?;
                }
                b'b' => {
                    let state = self.pop()?;
                    self.build(state)?;
                }
                other => return Err(format!("holds the opcode {other:#04x}, which data sets need not")),
            }
        }
    }

    fn push(&mut self, node: Node) -> Result<(), String> {
        if self.nodes.len() >= MAX_VALUES {
            return Err("holds too many values".into());
        }
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
        Ok(())
    }

    fn pop(&mut self) -> Result<Id, String> {
        self.stack.pop().ok_or_else(|| "is cut or damaged".to_owned())
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark =
            self.stack.iter().rposition(|&id| matches!(self.nodes[id], Node::Mark)).ok_or("is cut or damaged")?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    /// Adds to the list or the dictionary on top of the stack.
    fn extend(&mut self, items: Vec<Id>) -> Result<(), String> {
        let &top = self.stack.last().ok_or("is cut or damaged")?;
        match &mut self.nodes[top] {
            Node::List(list) => list.extend(items),
            Node::Dict(entries) => entries.extend(pairs(&items)),
            _ => {}
        }
        Ok(())
    }

    fn memoize(&mut self, index: usize) -> Result<(), String> {
        let &top = self.stack.last().ok_or("is cut or damaged")?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, index: usize) -> Result<(), String> {
        let &id = self.memo.get(&index).ok_or("is cut or damaged")?;
        self.stack.push(id);
        Ok(())
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (&head, rest) = self.bytes.split_first_chunk::<N>().ok_or("ends too early, as if cut off")?;
        self.bytes = rest;
        Ok(head)
    }

    fn take(&mut self, length: u64) -> Result<Vec<u8>, String> {
        let length = usize::try_from(length).ok().filter(|&length| length <= self.bytes.len());
        let (head, rest) = self.bytes.split_at(length.ok_or("ends too early, as if cut off")?);
        self.bytes = rest;
        self.spend(head.len())?;
        Ok(head.to_vec())
    }

    fn spend(&mut self, bytes: usize) -> Result<(), String> {
        self.budget = self.budget.checked_sub(bytes).ok_or("unpacks to far more than it is")?;
        Ok(())
    }

    fn line(&mut self) -> Result<String, String> {
        let end = self.bytes.iter().position(|&byte| byte == b'\n').ok_or("ends too early, as if cut off")?;
        let line = String::from_utf8_lossy(&self.bytes[..end]).into_owned();
        self.bytes = &self.bytes[end + 1..];
        Ok(line)
    }

    fn string(&mut self, opcode: u8, length: u64) -> Result<(), String> {
        let bytes = self.take(length)?;
        self.push(match opcode {
            b'X' | 0x8c | 0x8d => Node::Text(String::from_utf8_lossy(&bytes).into_owned()),
            _ => Node::Bytes(bytes),
        })
    }

    fn long(&mut self) -> Result<(), String> {
        let [length] = self.fixed()?;
        let bytes = self.take(length.into())?;
        let fill = if bytes.last().is_some_and(|&byte| byte >= 128) { 0xff } else { 0 };
        let mut whole = [fill; 8];
        self.push(match bytes.len() {
            0..=8 => {
                whole[..bytes.len()].copy_from_slice(&bytes);
                Node::Int(i64::from_le_bytes(whole))
            }
            _ => Node::Other,
        })
    }

    fn tuple(&self, id: Id) -> &[Id] {
        match &self.nodes[id] {
            Node::Tuple(items) => items,
            _ => &[],
        }
    }

    /// What a call makes, of the few that data needs.
    fn reduce(&mut self, function: Id, arguments: Id) -> Result<Node, String> {
        let Node::Global(function) = &self.nodes[function] else { return Ok(Node::Other) };
        let items = self.tuple(arguments);
        let numpy =
            function.strip_prefix("numpy.").map(|name| name.trim_start_matches("_core.").trim_start_matches("core."));
        let made = match (function.as_str(), numpy, items) {
            ("_codecs.encode", _, [text, ..]) => match &self.nodes[*text] {
                Node::Text(text) => Node::Bytes(latin1(text)),
                _ => Node::Other,
            },
            (_, Some("multiarray._reconstruct"), _) => {
                Node::Array { shape: Vec::new(), dtype: String::new(), bytes: Vec::new() }
            }
            (_, Some("numeric._frombuffer"), [buffer, dtype, shape, ..]) => {
                match (&self.nodes[*buffer], &self.nodes[*dtype]) {
                    (Node::Bytes(bytes), Node::Dtype(dtype)) => {
                        Node::Array { shape: self.shape(*shape), dtype: dtype.clone(), bytes: bytes.clone() }
                    }
                    _ => Node::Other,
                }
            }
            (_, Some("dtype"), [name, ..]) => match &self.nodes[*name] {
                Node::Text(name) => Node::Dtype(name.clone()),
                Node::Bytes(name) => Node::Dtype(String::from_utf8_lossy(name).into_owned()),
                _ => Node::Other,
            },
            (_, Some("multiarray.scalar"), [dtype, bytes]) => match (&self.nodes[*dtype], &self.nodes[*bytes]) {
                (Node::Dtype(dtype), Node::Bytes(bytes)) => integer(dtype, bytes).map_or(Node::Other, Node::Int),
                _ => Node::Other,
            },
            _ => Node::Other,
        };
        if let Node::Bytes(bytes) | Node::Array { bytes, .. } = &made {
            self.spend(bytes.len())?;
        }
        Ok(made)
    }

    fn shape(&self, id: Id) -> Vec<usize> {
        let edge = |&id: &Id| match self.nodes[id] {
            Node::Int(edge) => usize::try_from(edge).unwrap_or(0),
            _ => 0,
        };
        self.tuple(id).iter().map(edge).collect()
    }

    /// The state of an array: version, shape, type, whether in Fortran order, and its bytes.
    fn build(&mut self, state: Id) -> Result<(), String> {
        let &top = self.stack.last().ok_or("is cut or damaged")?;
        if !matches!(self.nodes[top], Node::Array { .. }) {
            return Ok(());
        }
        let [_, shape, dtype, fortran, content] = *self.tuple(state) else { return Ok(()) };
        let made = match (&self.nodes[dtype], &self.nodes[fortran], &self.nodes[content]) {
            (Node::Dtype(dtype), Node::Bool(false) | Node::Int(0), Node::Bytes(bytes)) => {
                Node::Array { shape: self.shape(shape), dtype: dtype.clone(), bytes: bytes.clone() }
            }
            _ => Node::Other,
        };
        if let Node::Array { bytes, .. } = &made {
            self.spend(bytes.len())?;
        }
        self.nodes[top] = made;
        Ok(())
    }
}

fn pairs(items: &[Id]) -> Vec<(Id, Id)> {
    items.as_chunks::<2>().0.iter().map(|[key, value]| (*key, *value)).collect()
}

/// Text back to the bytes that Python 3 wrote as Latin-1 for protocol 2.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap_or(b'?')).collect()
}

/// A little-endian whole number of a NumPy type such as `i8`.
pub(super) fn integer(dtype: &str, bytes: &[u8]) -> Option<i64> {
    let is_signed = dtype.trim_start_matches(['<', '|', '=']).starts_with('i');
    let fill = if is_signed && bytes.last()? >= &128 { 0xff } else { 0 };
    let mut whole = [fill; 8];
    whole.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(whole))
}
