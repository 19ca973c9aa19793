/*
 * What the kernel programs and the daemon say to each other.  Every struct stands here once in C and once in
 * daemon/abi.py as ctypes; static assertions generated from the latter are compiled with this file, so that a
 * difference stops the build.  All padding is named.
 */

#define NBSP_STAMP_WORDS 8	/* 512 stamp bits: room for the checkpoints of two generations */
#define NBSP_STAMPS_HELD 8	/* stamps that one process can carry; further ones are not given */
#define NBSP_CLAUSES 4		/* rules that may protect one object */
#define NBSP_WALK_MAX 128	/* ancestors looked at before a walk gives up and denies */
#define NBSP_PSEUDO_NAMES 16	/* names of a declared path on a pseudo file system */
#define NBSP_NAME 256
#define NBSP_RULES 65536	/* rule numbers, the index of the counters; the last eight are nbspd's own */
#define POLICY_SEALED 1		/* nobody, under the rule that seals checkpoints */
#define NBSP_FILTER_WORDS 131072	/* 64-bit words of one generation's object filter */
#define NBSP_SB_WORDS 64
#define NBSP_PORT_WORDS 1024
#define NBSP_ANCESTORS 8
#define NBSP_PATH_NAMES 6
#define NBSP_PATH_NAME 40
#define NBSP_ARGV 128
#define NBSP_STAMPS 32768	/* processes that carry a stamp */
#define NBSP_UNITS 1024
#define NBSP_UNIT_CGROUPS 8192
#define NBSP_NEWBORNS 16384
#define NBSP_NEWBORN_BYTES 65536
#define NBSP_SUN_NAME 110
#define NBSP_POLICY_RAW_FRAMES 2	/* in each generation: of sending below every filter, see frames.c */
#define NBSP_LINKS 64
#define NBSP_MONITOR_GROUPS 4
#define NBSP_STAMP_INIT 511	/* a process that PID 1 forked and that has not executed anything since */
#define NBSP_RDEV_DEV 0xffffffff	/* object_key.dev of a device number; .ino is the number */

/* what an access wants; a clause names those it covers */
#define ACCESS_READ 1
#define ACCESS_WRITE 2
#define ACCESS_EXEC 4
#define ACCESS_CONNECT 8
#define ACCESS_MOVE 16	/* to rename, replace or remove what stands above a declared path */
#define ACCESS_CONTROL 32	/* of a process: by ptrace and what is like it */

/* the technical way an access took, as daemon/programs/catalogue.py names it */
#define CHANNEL_FILE_OPEN 1
#define CHANNEL_EXEC 2
#define CHANNEL_MMAP 3
#define CHANNEL_RECEIVE 4
#define CHANNEL_CREATE 5
#define CHANNEL_MKNOD 6
#define CHANNEL_MKDIR 7
#define CHANNEL_SYMLINK 8
#define CHANNEL_LINK 9
#define CHANNEL_UNLINK 10
#define CHANNEL_RMDIR 11
#define CHANNEL_RENAME 12
#define CHANNEL_SETATTR 13
#define CHANNEL_XATTR 14
#define CHANNEL_ACL 15
#define CHANNEL_CONNECT 16
#define CHANNEL_SEND 17
#define CHANNEL_PACKET 18
#define CHANNEL_INTERFACE 19
#define CHANNEL_UNIX_CONNECT 20
#define CHANNEL_UNIX_SEND 21
#define CHANNEL_DEVICE_OPEN 22
#define CHANNEL_PTRACE 23
#define CHANNEL_TRACEME 24
#define CHANNEL_CODE 25
#define CHANNEL_DUMP 26
#define CHANNEL_FLAGS 27
#define CHANNEL_INHERIT 28
#define CHANNEL_ARRIVAL 30
#define CHANNEL_RAW_FRAMES 31
#define CHANNEL_MOUNT_OPTION 50
#define CHANNEL_COVER 51	/* mounting something over it */
#define CHANNEL_SIGNAL 40	/* from here on: what is done to nbspd itself, guard.c */
#define CHANNEL_DEBUG 41
#define CHANNEL_PRIORITY 42
#define CHANNEL_BPF 43
#define CHANNEL_PIN 44
#define CHANNEL_MOUNT 45
#define CHANNEL_KNOB 46
#define CHANNEL_KERNEL_CODE 47
#define CHANNEL_KERNEL_MEMORY 48
#define CHANNEL_PROGRAM 49

#define VERDICT_DENIED 1
#define VERDICT_KILLED 2
#define VERDICT_AUDITED 3	/* mode: audit, allowed */
#define VERDICT_OBSERVED 4	/* seen after the effect (tier socket) */


#define KIND_NONE 0
#define KIND_INODE 1
#define KIND_SLOT 2
#define KIND_ENDPOINT 3
#define KIND_ABSTRACT 4
#define KIND_RDEV 5
#define KIND_PROCESS 6		/* object.ino is its number, abstract its name */
#define KIND_MEMORY 7		/* anonymous */
#define KIND_MONITOR 8	/* nbspd itself; .port has a number, by channel */
#define KIND_PSEUDO 9	/* object.ino is the hash of the declared path */

#define MODE_ENFORCE 0
#define MODE_AUDIT 1
#define ACTION_DENY 0
#define ACTION_KILL 1

#define CHECKPOINT_PRESENT 1
#define CHECKPOINT_CHILDREN 2
#define CHECKPOINT_USER 4
#define CHECKPOINT_UNIT 8
#define CHECKPOINT_AFTER 16
#define CHECKPOINT_ANY_MEMORY 32	/* may execute what it makes in memory (code: anonymous) */
#define CHECKPOINT_MANAGER 128	/* the program of PID 1, or one by which it starts others */

struct object_key {
	__u64 ino;
	__u32 dev;		/* the superblock's s_dev, the kernel's encoding (major << 20 | minor) */
	__u32 gen;		/* i_generation; 0 in tier socket; of a device number 1 for a block device, 0 for others */
};

struct object {
	__u32 policy;		/* of the inode itself, 0: none */
	__u32 tree_policy;	/* of everything below it, 0: none */
};

struct slot_key {
	struct object_key parent;
	__u64 name;		/* name_hint(): cheap, told apart by slot.name */
};

struct slot {			/* what protects a name, whatever inode stands there */
	__u32 policy;
	__u32 tree_policy;	/* everything below it, when it is a directory */
	__u64 name;		/* name_hash(), 0: any name with this hint; it protects too much, never too little */
};

struct endpoint_key {
	__u32 prefixlen;	/* of what follows, in bits */
	__u8 proto;		/* IPPROTO_TCP, IPPROTO_UDP */
	__u8 pad;
	__u16 port;		/* network order */
	__u8 addr[16];		/* IPv4 as ::ffff:a.b.c.d */
};

struct clause {
	__u32 rule;		/* rule number */
	__u8 access;
	__u8 mode;
	__u8 action;
	__u8 pad;
	__u64 accept[NBSP_STAMP_WORDS];
};

struct policy {
	__u32 count;
	__u32 pad;
	struct clause clauses[NBSP_CLAUSES];
};

struct exe {			/* which checkpoints a program may become */
	__u32 bits[8];		/* stamp bits, each plus one; 0: none; the last is always 0 */
};

struct checkpoint {		/* by stamp bit */
	struct object_key exe;
	__u32 uid;
	__u32 unit;
	__u32 flags;
	__u32 pad;
	__u64 after[NBSP_STAMP_WORDS];
};

struct stamp {			/* by tgid; no entry, no stamp */
	__u64 start_ticks;	/* start_boottime of the thread group leader in 1/100 s: guards against pid reuse */
	__u64 bits[NBSP_STAMP_WORDS];
	__u16 list[NBSP_STAMPS_HELD];	/* the same stamps one by one, each plus one; 0: none */
	__u64 tainted;		/* 1: foreign code came in while it could do no harm; none of its stamps counts */
};

struct code {			/* who may execute pages of a file, or of all files below a directory, by stamp bit */
	__u64 any[NBSP_STAMP_WORDS];
	__u64 owned[NBSP_STAMP_WORDS];	/* when only root can have written it */
};

struct generation {		/* by generation slot, 0 or 1 */
	__u64 number;
	__u32 filter_mask;	/* words of the object filter in use, minus one */
	__u32 serial;		/* new with each writing, also of the same generation after names changed on the host */
	__u64 sealed[NBSP_STAMP_WORDS];	/* stamp bits of the checkpoints that an enforced rule accepts */
	__u64 pseudo_kinds;	/* pseudo file systems on which a path is declared, a bit for each */
	__u64 pseudo_anywhere;	/* those on which a name is declared wherever it stands */
	__u64 pseudo_trees;	/* those on which a tree is declared */
	__u64 pseudo_whole;	/* those that are declared as a whole */
	__u64 one;		/* 1, and the verifier does not know: it would follow each power of a number it knew */
	__u32 guard_policy;	/* of nbspd itself, see guard.c; 0: it is not guarded */
	__u32 kernel_policy;	/* of the kernel, the same */
};

struct monitor {		/* what guard.c must know of the daemon */
	__u64 open_until_ns;	/* boot clock: until then its rule denies nothing (nbsp maintain) */
	__u64 mount;		/* of the bpffs with the pins, the kernel's address of it; filled in by the kernel */
	__u64 pins_ino;		/* the folder of the pins */
	__u64 groups[NBSP_MONITOR_GROUPS];	/* the cgroups above the unit's, without the root */
	__u32 pins_dev;
	__u32 proc_dev;		/* of /proc, where processes have their numbers of the initial name space */
	__u32 unit;		/* number of nbspd.service in unit_cgroups; 0: nothing to guard */
	__u32 stamp;		/* bit of the daemon's checkpoint, plus one */
	__u32 rule;		/* number of the rule that guards it */
	__u32 pad;
	__u32 links[NBSP_LINKS];	/* ids of our links; 0: none */
};

struct unit_path {		/* a unit's cgroup, from the root of the cgroup-v2 tree */
	char path[NBSP_NAME];
};

struct socket_stamp {		/* the stamps of the process that connected or sent, kept with the socket */
	__u64 bits[NBSP_STAMP_WORDS];
};

struct newborn {
	__u32 serial;		/* counts only under the generation that it was made in, as written then */
	__u32 policy;
};

struct newborn_filter {
	__u8 bytes[NBSP_NEWBORN_BYTES];
};

struct scratch {
	struct unit_path unit;
};

struct notice {			/* a name changed in a directory that the daemon watches */
	struct object_key parent;
	__u32 channel;
	__u32 pad;
};

struct counter {		/* by rule number */
	__u64 hits;
	__u64 lost;		/* hits whose record found no room */
};

struct resolved {		/* what the kernel calls an inode that the daemon asked about */
	struct object_key key;
	__u32 rdev;
	__u32 mode;
	__u64 magic;
	__u64 count;		/* grows with every answer */
};

struct ancestor {
	__u64 start_ticks;
	__u32 tgid;
	__u32 uid;
	char comm[16];
};

struct violation {
	__u64 time_ns;		/* boot clock */
	__u64 generation;
	__u64 start_ticks;
	__u64 cgroup;
	__u64 exe_ino;
	__u32 exe_dev;
	__u32 rule;
	__u32 tgid;
	__u32 tid;
	__u32 uid;
	__u32 euid;
	__u32 gid;
	__u32 loginuid;		/* 4294967295: not set, or no audit in this kernel */
	__u32 sessionid;
	__u8 channel;
	__u8 verdict;
	__u8 access;
	__u8 kind;
	struct object_key object;	/* the protected inode, or the parent of a slot */
	__u8 addr[16];
	__u16 port;		/* host order */
	__u8 proto;
	__u8 names;		/* how many of path[] are filled */
	__u32 ifindex;
	char comm[16];
	char exe_name[NBSP_PATH_NAME];
	__u64 stamps[NBSP_STAMP_WORDS];
	struct ancestor ancestors[NBSP_ANCESTORS];
	char path[NBSP_PATH_NAMES][NBSP_PATH_NAME];	/* deepest name first */
	char abstract[112];
	char argv[NBSP_ARGV];
};
