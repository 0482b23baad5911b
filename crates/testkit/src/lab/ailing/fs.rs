//! The FUSE side of the disk: each request is a step on the tree.

use std::ffi::OsStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite,
    Request, TimeOrNow, WriteFlags,
};

use super::Shared;
use super::tree::{Is, ROOT, Tree};

/// The kernel keeps nothing: after a power loss all it knew is wrong.
const TTL: Duration = Duration::ZERO;
const BLOCK: u32 = 4096;
/// Blocks it says it has.
const BLOCKS: u64 = 1 << 20;

pub(super) struct Files(pub(super) Arc<Shared>);

fn attr(tree: &mut Tree, number: u64) -> Result<FileAttr, Errno> {
    let (kind, perm, size) = match tree.is(number)? {
        Is::File(size) => (FileType::RegularFile, 0o600, size),
        Is::Dir => (FileType::Directory, 0o700, 0),
    };
    Ok(FileAttr {
        ino: INodeNo(number),
        size,
        blocks: size.div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    })
}

impl Files {
    fn empty(reply: ReplyEmpty, done: Result<(), Errno>) {
        match done {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn made(&self, parent: INodeNo, name: &OsStr, directory: bool) -> Result<FileAttr, Errno> {
        let mut tree = self.0.tree();
        let number = tree.make(parent.0, name, directory)?;
        attr(&mut tree, number)
    }

    fn sync(&self, number: INodeNo) -> Result<(), Errno> {
        let shared = &self.0;
        shared.syncs.fetch_add(1, Ordering::SeqCst);
        let delay = shared.delay.load(Ordering::SeqCst);
        if delay > 0 {
            shared.delayed.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(delay));
        }
        if shared.failing.load(Ordering::SeqCst) {
            shared.failed.fetch_add(1, Ordering::SeqCst);
            return Err(Errno::EIO);
        }
        shared.tree().sync(number.0)
    }

    fn open(&self, number: INodeNo, reply: ReplyOpen) {
        match self.0.tree().open(number.0) {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }
}

#[allow(clippy::too_many_arguments, reason = "the trait has them")]
impl Filesystem for Files {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut tree = self.0.tree();
        match tree.find(parent.0, name).and_then(|number| attr(&mut tree, number)) {
            Ok(attr) => reply.entry(&TTL, &attr, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match attr(&mut self.0.tree(), number.0) {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(error) => reply.error(error),
        }
    }

    /// Only lengths are kept: nobody here asks for another owner, mode or time.
    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut tree = self.0.tree();
        let set = size.map_or(Ok(()), |size| tree.set_len(number.0, size));
        match set.and_then(|()| attr(&mut tree, number.0)) {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        match self.made(parent, name, true) {
            Ok(attr) => reply.entry(&TTL, &attr, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        let made = self.made(parent, name, false).and_then(|attr| self.0.tree().open(attr.ino.0).map(|()| attr));
        match made {
            Ok(attr) => reply.created(&TTL, &attr, Generation(0), FileHandle(0), FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        Self::empty(reply, self.0.tree().remove(parent.0, name));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        Self::empty(reply, self.0.tree().remove(parent.0, name));
    }

    fn rename(&self, _: &Request, from: INodeNo, old: &OsStr, to: INodeNo, new: &OsStr, _: RenameFlags, reply: ReplyEmpty) {
        Self::empty(reply, self.0.tree().rename((from.0, old), (to.0, new)));
    }

    fn open(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.open(number, reply);
    }

    fn opendir(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.open(number, reply);
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        at: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.0.tree().read(number.0, at, size as usize) {
            Ok(data) => reply.data(data),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        at: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.0.tree().write(number.0, at, data) {
            Ok(()) => reply.written(data.len() as u32),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.0.tree().close(number.0);
        reply.ok();
    }

    fn releasedir(&self, _: &Request, number: INodeNo, _: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.0.tree().close(number.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        Self::empty(reply, self.sync(number));
    }

    fn fsyncdir(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        Self::empty(reply, self.sync(number));
    }

    fn readdir(&self, _: &Request, number: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let mut tree = self.0.tree();
        let listed = match tree.list(number.0) {
            Ok(listed) => listed,
            Err(error) => return reply.error(error),
        };
        let own = [(".".into(), number.0), ("..".into(), ROOT)];
        for ((name, number), place) in own.into_iter().chain(listed).zip(1..).skip(offset as usize) {
            let kind = match tree.is(number) {
                Ok(Is::File(_)) => FileType::RegularFile,
                _ => FileType::Directory,
            };
            if reply.add(INodeNo(number), place, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(BLOCKS, BLOCKS / 2, BLOCKS / 2, 1 << 20, 1 << 19, BLOCK, 255, BLOCK);
    }
}
