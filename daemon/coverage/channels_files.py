"""H1 and H9: names, mounts, and what can be changed about a file. The judge looks at the inode and its ancestors."""

from __future__ import annotations

from .channel import DEVICE_NODE, FILES, OPEN, PATHS, READ, TREE, WRITE, Channel

NAMES: tuple[Channel, ...] = (
    Channel("open", "H1", "opening it by its path", FILES, OPEN, is_front_door=True,
            why="the kernel asks at every open, with the inode that the walk ended at; O_PATH and stat open nothing "
                "and are not seen, nor is a descriptor that is open already"),
    Channel("symlink", "H1", "through a symbolic link", FILES, OPEN,
            why="the links have been followed when file_open is asked; readlink itself is not judged"),
    Channel("bind-mount", "H1", "through a bind mount, chroot or another mount namespace", FILES, OPEN,
            why="the dentry's parents are walked, not the mount's, and they are the same in every mount; a file "
                "system of its own above it (overlay) is not seen"),
    Channel("proc-root", "H1", "through /proc/PID/root, cwd or fd", FILES, OPEN,
            why="such a link ends at the dentry itself, and opening it is a new open; an O_PATH descriptor alone "
                "reads nothing"),
    Channel("handle", "H1", "open_by_handle_at", frozenset({"file", "exec", "device"}), OPEN,
            why="the inode is what is declared, however it was found"),
    Channel("tree-handle", "H1", "open_by_handle_at of a file in the tree", TREE, OPEN,
            why="a dentry that has no path to its root is denied on a guarded superblock, since nobody can say what "
                "tree it lies in; that is too much for backup programs and NFS servers there"),
    Channel("device-node", "H1", "another node for the same device", DEVICE_NODE, OPEN,
            why="the device's number counts, whichever node has it; /dev/sg* of the same disk has another number",
            no_attempt="a drill declares no device: this host has none that it could throw away"),
    Channel("hard-link", "H1", "a new hard link to it, or into it", PATHS, ("inode_link",),
            why="asked under the directory's lock before the link is there, with both names, also for a link to a "
                "descriptor; links that are older are not seen"),
    Channel("older-link", "H1", "a hard link to a declared file, made before the rules", frozenset({"file", "exec"}),
            OPEN, why="all links lead to the inode that is declared"),
    Channel("older-hard-link", "H1", "a hard link outside the tree, made before the rules", TREE,
            reason="only the name that was opened is walked up to the tree"),
    Channel("rename", "H1", "rename and exchange", PATHS, ("inode_rename",),
            why="asked before the effect with both names, in an exchange as what each of them is moved from and to; "
                "directories further up are not judged"),
    Channel("create", "H1", "creating a file, directory, node or symbolic link in its place", PATHS,
            ("inode_create", "inode_mkdir", "inode_mknod", "inode_symlink"), access=WRITE,
            why="whatever makes a name asks one of them before it is there: O_CREAT inode_create, bind of a socket "
                "inode_mknod; a nameless file has no name until inode_link is asked"),
    Channel("remove", "H1", "unlink and rmdir", PATHS, ("inode_unlink", "inode_rmdir"), access=WRITE,
            why="whatever removes a name ends in vfs_unlink() or vfs_rmdir(), which ask before the effect; being "
                "replaced by a rename is for inode_rename"),
    Channel("attributes", "H1", "chmod, chown, truncate, utimes", PATHS, ("inode_setattr",), access=WRITE,
            why="all of them end in notify_change(), which asks before the effect; the times that reading and writing "
                "change by themselves are not asked for"),
    Channel("ioctl", "H1", "flags set by ioctl on a file opened for reading", PATHS,
            ("file_ioctl", "file_ioctl_compat|file_ioctl", "inode_file_setattr|file_ioctl"),
            reason="tier socket has no hook for it", access=WRITE, unless=READ,
            why="the ioctls that change flags, attributes, version, verity and encryption are asked for as writing; "
                "all others that change a file want it open for writing"),
    Channel("xattr", "H1", "extended attributes", PATHS, ("inode_setxattr", "inode_removexattr"), access=WRITE,
            why="setting and removing ask before the effect in every name space of attributes; reading them is not "
                "judged"),
    Channel("acl", "H1", "access control lists", PATHS,
            ("inode_set_acl|inode_setxattr", "inode_remove_acl|inode_removexattr"), access=WRITE,
            why="asked before the effect, by kernels without a hook for lists as for any extended attribute; reading "
                "them is not judged"),
    Channel("metadata", "H1", "stat, and listing the names in a directory that is not itself protected", PATHS,
            reason="nobody is kept from seeing that it is there; reading what is in it is refused", access=READ,
            no_attempt="it is open by intention, on every host, and a drill that tried it could never succeed"),
    Channel("ancestor", "H1", "renaming, exchanging or removing a directory or symbolic link above it",
            FILES | {"unix"}, ("inode_rename", "inode_rmdir", "inode_unlink"),
            why="each directory and link on a declared way is bound and asked for before it is moved; one that appears "
                "later is bound at the next look at the names"),
    Channel("overlay", "H1", "opening it through an overlay mount that has it in a layer", FILES, OPEN,
            why="the overlay opens the file below as whoever opens its own, and that is asked for; other stacked file "
                "systems are not known"),
    Channel("raw-device", "H1", "reading or writing the block device below the file system, or a loop device's image",
            PATHS, ("file_open", "file_receive"),
            why="the numbers of the partition, its disk, what it stands on and its character devices are bound, "
                "whichever node has them; the tools in daemon/programs/disks.py may"),
    Channel("stacked-device", "H1", "another device made of the same bytes: device mapper, LVM snapshot, kernel target",
            PATHS, reason="root can have the kernel make one, and it is known only from the next look at the names on",
            no_attempt="it would take a device mapper of the host's own"),
    Channel("raw-commands", "H1", "SCSI or NVMe commands sent by way of another partition of the disk", PATHS,
            reason="ioctl is not judged; needs CAP_SYS_RAWIO and another partition of the same disk",
            no_attempt="it would take a disk of the host's own"),
    Channel("exec-replaced", "H1", "executing another program that took its place", PATHS - TREE, OPEN, access=READ,
            reason="tier socket knows the inode that was there at the last nbsp reload",
            why="the name in its directory is declared too, whatever inode has it",
            no_attempt="what took its place is a program of the opponent's, and running it shows nothing"),
    Channel("unix-alias", "H1", "another name of the socket: link, mount, /proc/PID/root, relative path, rename",
            frozenset({"unix"}), ("unix_stream_connect", "unix_may_send"),
            reason="tier socket knows only the name that was asked for",
            why="asked with the socket at the other end and so the inode that it is bound to; a socket bound elsewhere "
                "and linked to the declared name is known once the daemon has looked again"),
    Channel("unix-replaced", "H1", "another socket put in the place of the protected one", frozenset({"unix"}),
            reason="that reaches nothing, and who connects to the name is still judged, but another answers"),
)

MOUNTS: tuple[Channel, ...] = (
    Channel("mount-below", "H9", "a file system mounted below the tree later", TREE,
            reason="what is on it is protected from the next reload on"),
    Channel("mount-over", "H9", "mounting something over it, or over what lies in the tree", FILES | {"unix"},
            ("sb_mount", "move_mount"),
            why="asked before the mount, with what is covered; PID 1 may, and its children until they are a service"),
    Channel("mount-above", "H9", "mounting something over a directory above it", FILES | {"unix"},
            reason="that is what mounting a disk and every sandbox does; it hides the file and leaks nothing",
            no_attempt="it would only show that nothing can be read any more"),
)
