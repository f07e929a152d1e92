//! The ZIP file of a statement. Written here because the entries' names have to be raw GBK bytes without the UTF-8 flag, as
//! Alipay's are, and ZIP libraries only take Unicode names.

use std::io::Write;

use flate2::{Compression, Crc, write::DeflateEncoder};
use jiff::civil::DateTime;

/// One file of the archive: the raw bytes of its name, and its content.
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) content: Vec<u8>,
}

const LOCAL_HEADER: u32 = 0x0403_4b50;
const CENTRAL_HEADER: u32 = 0x0201_4b50;
const END_OF_DIRECTORY: u32 = 0x0605_4b50;
const VERSION_2_0: u16 = 20;
const NO_FLAGS: u16 = 0;
const DEFLATE: u16 = 8;

/// An archive of deflated entries, all of the same modification time (PKWARE APPNOTE 6.3, sections 4.3.7, 4.3.12 and
/// 4.3.16; no ZIP64: statements are far from 4 GiB).
pub(crate) fn archive(entries: &[Entry], modified: DateTime) -> Vec<u8> {
    let mut file = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        let offset = len_u32(&file);
        let mut crc = Crc::new();
        crc.update(&entry.content);
        let deflated = deflate(&entry.content);

        let mut common = Vec::new();
        put16(&mut common, VERSION_2_0);
        put16(&mut common, NO_FLAGS);
        put16(&mut common, DEFLATE);
        put16(&mut common, dos_time(modified));
        put16(&mut common, dos_date(modified));
        put32(&mut common, crc.sum());
        put32(&mut common, len_u32(&deflated));
        put32(&mut common, len_u32(&entry.content));
        put16(&mut common, len_u16(&entry.name));
        put16(&mut common, 0); // no extra field

        put32(&mut file, LOCAL_HEADER);
        file.extend_from_slice(&common);
        file.extend_from_slice(&entry.name);
        file.extend_from_slice(&deflated);

        put32(&mut directory, CENTRAL_HEADER);
        put16(&mut directory, VERSION_2_0); // made by
        directory.extend_from_slice(&common);
        put16(&mut directory, 0); // no comment
        put16(&mut directory, 0); // first disk
        put16(&mut directory, 0); // internal attributes
        put32(&mut directory, 0); // external attributes
        put32(&mut directory, offset);
        directory.extend_from_slice(&entry.name);
    }
    let directory_offset = len_u32(&file);
    let count = u16::try_from(entries.len()).expect("a statement has two entries");
    file.extend_from_slice(&directory);
    put32(&mut file, END_OF_DIRECTORY);
    put16(&mut file, 0); // this disk
    put16(&mut file, 0); // the directory's disk
    put16(&mut file, count);
    put16(&mut file, count);
    put32(&mut file, len_u32(&directory));
    put32(&mut file, directory_offset);
    put16(&mut file, 0); // no comment
    file
}

fn deflate(content: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).and_then(|()| encoder.finish()).expect("writing to memory cannot fail")
}

fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn len_u32(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a statement is smaller than 4 GiB")
}

fn len_u16(bytes: &[u8]) -> u16 {
    u16::try_from(bytes.len()).expect("a statement's names are short")
}

/// MS-DOS time: hours, minutes, pairs of seconds.
fn dos_time(at: DateTime) -> u16 {
    (unsigned(at.hour().into()) << 11)
        | (unsigned(at.minute().into()) << 5)
        | (unsigned(at.second().into()) / 2)
}

/// MS-DOS date: years since 1980, month, day.
fn dos_date(at: DateTime) -> u16 {
    let years = unsigned(at.year().clamp(1980, 2107) - 1980);
    (years << 9) | (unsigned(at.month().into()) << 5) | unsigned(at.day().into())
}

fn unsigned(value: i16) -> u16 {
    u16::try_from(value).expect("the parts of a civil time are not negative")
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use super::*;

    #[test]
    fn another_implementation_reads_the_archive() {
        let entries = [
            Entry { name: b"\xd2\xb5.csv".to_vec(), content: b"a,b\r\n".repeat(1000) },
            Entry { name: b"empty.csv".to_vec(), content: Vec::new() },
        ];
        let bytes = archive(&entries, "2026-03-01T12:34:56".parse().unwrap());
        let mut read = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        assert_eq!(read.len(), 2);
        for (index, entry) in entries.iter().enumerate() {
            let mut file = read.by_index(index).unwrap();
            assert_eq!(file.name_raw(), entry.name);
            let mut content = Vec::new();
            file.read_to_end(&mut content).unwrap();
            assert_eq!(content, entry.content);
        }
    }
}
