//! The Arrow IPC format, as far as tables of images need it: the streaming format, which files of the format hold too.
//!
//! <https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc>
//!
//! Files are messages, each with metadata as a flatbuffer (`Message.fbs`, `Schema.fbs`) and a body of buffers. No
//! offset or length is believed: each is looked up in what was read.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

/// What files of the format begin with; streams follow.
pub(super) const FILE_MAGIC: &[u8] = b"ARROW1";
/// What messages begin with.
pub(super) const CONTINUATION: [u8; 4] = [0xff; 4];
/// Types in types in types are refused beyond this.
const MAX_DEPTH: usize = 16;
/// Columns beyond this are refused.
const MAX_FIELDS: usize = 4096;

const DAMAGED: &str = "is a damaged Arrow file";

/// A column, or a part of one.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub name: String,
    pub kind: Kind,
    children: Vec<Field>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Null,
    /// Bytes of a value, and whether it has a sign.
    Int(usize, bool),
    Float(usize),
    Bool,
    /// Bytes or text of any length, with offsets of so many bytes.
    Binary(usize),
    Text(usize),
    /// Lists with offsets of so many bytes.
    List(usize),
    FixedList(usize),
    Struct,
    /// Values that are skipped: one buffer.
    Other,
}

/// The columns of a file.
pub(super) struct Schema {
    pub fields: Vec<Field>,
    pub metadata: Vec<(String, String)>,
}

/// A file, after its schema.
pub(super) struct Reader {
    file: BufReader<File>,
    at: u64,
    length: u64,
    pub schema: Schema,
}

/// The metadata of a message, and where its body lies.
type Message = (Vec<u8>, std::ops::Range<u64>);

impl Reader {
    pub fn open(file: File) -> Result<Self, String> {
        let length = file.metadata().map_err(|e| e.to_string())?.len();
        let mut file = BufReader::new(file);
        let mut magic = [0; 8];
        file.read_exact(&mut magic).map_err(|_| DAMAGED)?;
        let at = if magic.starts_with(FILE_MAGIC) { 8 } else { 0 };
        let schema = Schema { fields: Vec::new(), metadata: Vec::new() };
        let mut reader = Self { file, at, length, schema };
        let (message, _) = reader.message()?.ok_or(DAMAGED)?;
        let message = Table::root(&message)?;
        if message.byte(1)? != 1 {
            return Err(format!("{DAMAGED}: it does not begin with a schema"));
        }
        reader.schema = Schema::read(message.table(2)?.ok_or(DAMAGED)?)?;
        Ok(reader)
    }

    /// The metadata of the next message and where its body lies; `None` after the last.
    fn message(&mut self) -> Result<Option<Message>, String> {
        if self.at >= self.length {
            return Ok(None);
        }
        self.file.seek(SeekFrom::Start(self.at)).map_err(|e| e.to_string())?;
        let mut head = [0; 8];
        self.file.read_exact(&mut head).map_err(|_| DAMAGED)?;
        let size = u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]]));
        if head[..4] != CONTINUATION || size > self.length - self.at {
            return Err(format!("{DAMAGED}: at byte {} there is no message", self.at));
        }
        if size == 0 {
            return Ok(None);
        }
        let mut metadata = vec![0; size as usize];
        self.file.read_exact(&mut metadata).map_err(|_| DAMAGED)?;
        let start = self.at + 8 + size;
        let body = u64::try_from(Table::root(&metadata)?.long(3)?).map_err(|_| DAMAGED)?;
        let end = start.checked_add(body).filter(|&end| end <= self.length);
        let end = end.ok_or_else(|| format!("{DAMAGED}: the message at byte {} ends outside of it", self.at))?;
        self.at = end;
        Ok(Some((metadata, start..end)))
    }

    /// The next rows.
    pub fn batch(&mut self) -> Result<Option<Batch>, String> {
        while let Some((metadata, body)) = self.message()? {
            let message = Table::root(&metadata)?;
            // Dictionaries of columns that are looked up in them: none of these is wanted.
            if message.byte(1)? != 3 {
                continue;
            }
            let mut content = vec![0; (body.end - body.start) as usize];
            self.file.seek(SeekFrom::Start(body.start)).map_err(|e| e.to_string())?;
            self.file.read_exact(&mut content).map_err(|_| DAMAGED)?;
            return Batch::read(message.table(2)?.ok_or(DAMAGED)?, content).map(Some);
        }
        Ok(None)
    }
}

impl Schema {
    fn read(table: Table) -> Result<Self, String> {
        let mut count = 0;
        let fields = table.tables(1)?.into_iter().map(|field| Field::read(field, 0, &mut count));
        let fields = fields.collect::<Result<_, _>>()?;
        let pair = |pair: Table| Ok::<_, String>((pair.text(0)?, pair.text(1)?));
        let metadata = table.tables(2)?.into_iter().map(pair).collect::<Result<_, _>>()?;
        if table.short(0)? != 0 {
            return Err("is of a big-endian machine, which is not read".into());
        }
        Ok(Self { fields, metadata })
    }
}

impl Field {
    fn read(table: Table, depth: usize, count: &mut usize) -> Result<Self, String> {
        *count += 1;
        if depth > MAX_DEPTH || *count > MAX_FIELDS {
            return Err(format!("{DAMAGED}: its types nest without end"));
        }
        let kind = match table.table(4)? {
            // Numbers of a dictionary.
            Some(_) => Kind::Other,
            None => Kind::read(table.byte(2)?, table.table(3)?)?,
        };
        let children = table.tables(5)?.into_iter().map(|child| Self::read(child, depth + 1, count));
        let children: Vec<Self> = children.collect::<Result<_, _>>()?;
        let is_list = matches!(kind, Kind::List(_) | Kind::FixedList(_));
        let children = if table.table(4)?.is_some() { Vec::new() } else { children };
        if is_list && children.len() != 1 {
            return Err(DAMAGED.into());
        }
        Ok(Self { name: table.text(0)?, kind, children })
    }

    /// Whether it is of bytes, or holds some.
    pub fn holds_bytes(&self) -> bool {
        matches!(self.kind, Kind::Binary(_)) || self.children.iter().any(Self::holds_bytes)
    }
}

impl Kind {
    fn read(kind: u8, table: Option<Table>) -> Result<Self, String> {
        let table = || table.ok_or(DAMAGED);
        Ok(match kind {
            1 => Self::Null,
            2 => match table()?.int(0)? {
                width @ (8 | 16 | 32 | 64) => Self::Int(width as usize / 8, table()?.byte(1)? != 0),
                _ => return Err(DAMAGED.into()),
            },
            3 => Self::Float(2 << table()?.short(0)?.clamp(0, 2)),
            4 => Self::Binary(4),
            5 => Self::Text(4),
            6 => Self::Bool,
            7..=11 | 15 | 18 => Self::Other,
            12 | 17 => Self::List(4),
            13 => Self::Struct,
            16 => Self::FixedList(usize::try_from(table()?.int(0)?).map_err(|_| DAMAGED)?),
            19 => Self::Binary(8),
            20 => Self::Text(8),
            21 => Self::List(8),
            other => return Err(format!("has a column of a type of Arrow that is not read (number {other})")),
        })
    }
}

/// Some rows.
pub(super) struct Batch {
    pub rows: usize,
    /// Rows of each field and of the fields in it, in order.
    nodes: Vec<usize>,
    buffers: Vec<std::ops::Range<usize>>,
    body: Vec<u8>,
}

impl Batch {
    fn read(table: Table, body: Vec<u8>) -> Result<Self, String> {
        if table.table(3)?.is_some() {
            return Err("is compressed inside, which is not read".into());
        }
        let rows = usize::try_from(table.long(0)?).map_err(|_| DAMAGED)?;
        let node = |pair: [i64; 2]| usize::try_from(pair[0]).map_err(|_| DAMAGED.to_owned());
        let nodes = table.pairs(1)?.into_iter().map(node).collect::<Result<_, _>>()?;
        let buffer = |[offset, length]: [i64; 2]| {
            let start = usize::try_from(offset).ok();
            let range = start.and_then(|start| Some(start..start.checked_add(usize::try_from(length).ok()?)?));
            range.filter(|range| range.end <= body.len()).ok_or_else(|| DAMAGED.to_owned())
        };
        let buffers = table.pairs(2)?.into_iter().map(buffer).collect::<Result<_, _>>()?;
        Ok(Self { rows, nodes, buffers, body })
    }

    /// The columns of the rows, as the schema has them.
    pub fn columns<'a>(&'a self, schema: &'a Schema) -> Result<Vec<Array<'a>>, String> {
        let (mut nodes, mut buffers) = (self.nodes.iter(), self.buffers.iter());
        let columns = schema.fields.iter().map(|field| self.array(field, &mut nodes, &mut buffers));
        let columns: Vec<Array> = columns.collect::<Result<_, _>>()?;
        match columns.iter().all(|column| column.length == self.rows) {
            true => Ok(columns),
            false => Err(DAMAGED.into()),
        }
    }

    fn array<'a>(
        &'a self,
        field: &'a Field,
        nodes: &mut std::slice::Iter<usize>,
        buffers: &mut std::slice::Iter<std::ops::Range<usize>>,
    ) -> Result<Array<'a>, String> {
        let &length = nodes.next().ok_or(DAMAGED)?;
        let mut next = || buffers.next().map(|range| &self.body[range.clone()]).ok_or(DAMAGED);
        let valid: &[u8] = if field.kind == Kind::Null { &[] } else { next()? };
        let (offsets, values): (&[u8], &[u8]) = match field.kind {
            Kind::Null | Kind::Struct | Kind::FixedList(_) => (&[], &[]),
            Kind::Int(..) | Kind::Float(_) | Kind::Bool | Kind::Other => (&[], next()?),
            Kind::Binary(_) | Kind::Text(_) => (next()?, next()?),
            Kind::List(_) => (next()?, &[]),
        };
        let children = field.children.iter().map(|child| self.array(child, nodes, buffers));
        let children = children.collect::<Result<_, _>>()?;
        Ok(Array { field, length, valid, offsets, values, children })
    }
}

/// Values of some rows of a column.
pub(super) struct Array<'a> {
    pub field: &'a Field,
    length: usize,
    /// A bit for each row; none where all are valid.
    valid: &'a [u8],
    offsets: &'a [u8],
    values: &'a [u8],
    children: Vec<Array<'a>>,
}

/// A value.
pub(super) enum Value<'a> {
    Null,
    Int(i64),
    Float(f64),
    Bool(bool),
    Binary(&'a [u8]),
    Text(&'a str),
    /// The rows of the array that the list holds.
    List(&'a Array<'a>, std::ops::Range<usize>),
    /// The arrays of its members, each with the value in the same row.
    Struct(&'a [Array<'a>], usize),
    Other,
}

impl<'a> Array<'a> {
    pub fn value(&'a self, row: usize) -> Result<Value<'a>, String> {
        let bit = |bits: &[u8]| bits.get(row / 8).map(|byte| byte >> (row % 8) & 1 == 1);
        if row >= self.length {
            return Err(DAMAGED.into());
        }
        if !self.valid.is_empty() && !bit(self.valid).ok_or(DAMAGED)? {
            return Ok(Value::Null);
        }
        let number = |width: usize| {
            let bytes = self.values.get(row * width..(row + 1) * width).ok_or(DAMAGED)?;
            let mut whole = [0; 8];
            whole[..width].copy_from_slice(bytes);
            Ok::<u64, String>(u64::from_le_bytes(whole))
        };
        Ok(match self.field.kind {
            Kind::Null => Value::Null,
            Kind::Int(width, is_signed) => {
                let number = number(width)?;
                let shift = 64 - 8 * width as u32;
                match is_signed {
                    true => Value::Int((number << shift) as i64 >> shift),
                    false => i64::try_from(number).map_or(Value::Other, Value::Int),
                }
            }
            Kind::Float(4) => Value::Float(f64::from(f32::from_bits(number(4)? as u32))),
            Kind::Float(8) => Value::Float(f64::from_bits(number(8)?)),
            Kind::Float(_) | Kind::Other => Value::Other,
            Kind::Bool => Value::Bool(bit(self.values).ok_or(DAMAGED)?),
            Kind::Binary(width) => Value::Binary(self.values.get(self.range(row, width)?).ok_or(DAMAGED)?),
            Kind::Text(width) => {
                let bytes = self.values.get(self.range(row, width)?).ok_or(DAMAGED)?;
                Value::Text(std::str::from_utf8(bytes).map_err(|_| DAMAGED)?)
            }
            Kind::List(width) => Value::List(self.children.first().ok_or(DAMAGED)?, self.range(row, width)?),
            Kind::FixedList(size) => {
                let start = row.checked_mul(size).ok_or(DAMAGED)?;
                Value::List(self.children.first().ok_or(DAMAGED)?, start..start + size)
            }
            Kind::Struct => Value::Struct(&self.children, row),
        })
    }

    /// Where the values of a row are, by offsets of `width` bytes.
    fn range(&self, row: usize, width: usize) -> Result<std::ops::Range<usize>, String> {
        let offset = |i: usize| {
            let bytes = self.offsets.get(i * width..(i + 1) * width)?;
            let mut whole = [0; 8];
            whole[..width].copy_from_slice(bytes);
            usize::try_from(u64::from_le_bytes(whole)).ok()
        };
        match (offset(row), offset(row + 1)) {
            (Some(start), Some(end)) if start <= end => Ok(start..end),
            _ => Err(DAMAGED.into()),
        }
    }
}

/// A table of a flatbuffer: fields are found through a list of offsets before it, and may be absent.
#[derive(Clone, Copy)]
struct Table<'a> {
    buffer: &'a [u8],
    at: usize,
}

impl<'a> Table<'a> {
    fn root(buffer: &'a [u8]) -> Result<Self, String> {
        let whole = Self { buffer, at: 0 };
        Ok(Self { buffer, at: whole.follow(0)? })
    }

    fn bytes<const N: usize>(&self, at: usize) -> Result<[u8; N], String> {
        let bytes = self.buffer.get(at..).and_then(|rest| rest.first_chunk::<N>());
        bytes.copied().ok_or_else(|| DAMAGED.to_owned())
    }

    /// The place that an offset at `at` leads to.
    fn follow(&self, at: usize) -> Result<usize, String> {
        let offset = u32::from_le_bytes(self.bytes(at)?) as usize;
        at.checked_add(offset).filter(|&place| place < self.buffer.len()).ok_or_else(|| DAMAGED.to_owned())
    }

    /// Where a field lies; `None` where it is absent.
    fn field(&self, index: usize) -> Result<Option<usize>, String> {
        let back = i64::from(i32::from_le_bytes(self.bytes(self.at)?));
        let offsets = usize::try_from(self.at as i64 - back).map_err(|_| DAMAGED)?;
        let size = usize::from(u16::from_le_bytes(self.bytes(offsets)?));
        let place = 4 + 2 * index;
        if place + 2 > size {
            return Ok(None);
        }
        let offset = usize::from(u16::from_le_bytes(self.bytes(offsets + place)?));
        Ok((offset > 0).then_some(self.at + offset))
    }

    fn byte(&self, index: usize) -> Result<u8, String> {
        self.field(index)?.map_or(Ok(0), |at| self.bytes::<1>(at).map(|[byte]| byte))
    }

    fn short(&self, index: usize) -> Result<i16, String> {
        self.field(index)?.map_or(Ok(0), |at| self.bytes(at).map(i16::from_le_bytes))
    }

    fn int(&self, index: usize) -> Result<i32, String> {
        self.field(index)?.map_or(Ok(0), |at| self.bytes(at).map(i32::from_le_bytes))
    }

    fn long(&self, index: usize) -> Result<i64, String> {
        self.field(index)?.map_or(Ok(0), |at| self.bytes(at).map(i64::from_le_bytes))
    }

    fn table(&self, index: usize) -> Result<Option<Self>, String> {
        let at = self.field(index)?.map(|at| self.follow(at)).transpose()?;
        Ok(at.map(|at| Self { buffer: self.buffer, at }))
    }

    /// Where the items of a vector begin, and how many there are, each of so many bytes.
    fn vector(&self, index: usize, width: usize) -> Result<(usize, usize), String> {
        let Some(at) = self.field(index)? else { return Ok((0, 0)) };
        let at = self.follow(at)?;
        let count = u32::from_le_bytes(self.bytes(at)?) as usize;
        let fits = count.checked_mul(width).is_some_and(|bytes| bytes <= self.buffer.len() - at);
        if fits { Ok((at + 4, count)) } else { Err(DAMAGED.into()) }
    }

    fn tables(&self, index: usize) -> Result<Vec<Self>, String> {
        let (start, count) = self.vector(index, 4)?;
        let item = |i| Ok(Self { buffer: self.buffer, at: self.follow(start + 4 * i)? });
        (0..count).map(item).collect()
    }

    /// A vector of structs of two numbers.
    fn pairs(&self, index: usize) -> Result<Vec<[i64; 2]>, String> {
        let (start, count) = self.vector(index, 16)?;
        let number = |at| self.bytes(at).map(i64::from_le_bytes);
        (0..count).map(|i| Ok([number(start + 16 * i)?, number(start + 16 * i + 8)?])).collect()
    }

    fn text(&self, index: usize) -> Result<String, String> {
        let (start, count) = self.vector(index, 1)?;
        let bytes = self.buffer.get(start..start + count).ok_or(DAMAGED)?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}
