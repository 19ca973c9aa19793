/*
 * How names and inodes are hashed, and the bitmaps in front of the tables; daemon/programs/names.py computes the same.
 */

static __always_inline __u32 object_hash(__u64 ino, __u32 dev)
{
	__u64 hash = (ino * 0x9E3779B97F4A7C15ULL) ^ ((__u64)dev * 0xC2B2AE3D27D4EB4FULL);

	/* twice: inode numbers come in runs, and one multiplication keeps them in runs */
	hash = (hash ^ (hash >> 32)) * 0x9E3779B97F4A7C15ULL;
	return hash >> 32;
}

/* The word of the object filter for a hash; every index that is made here exists. */
static __always_inline __u64 filter_word(__u32 slot, __u32 mask, __u32 hash)
{
	__u32 index = slot * NBSP_FILTER_WORDS + ((hash >> 6) & mask);
	__u64 *word = filters.lookup(&index);

	return word ? *word : ~0ULL;
}

static __always_inline int filter_has(__u32 slot, __u32 mask, __u32 hash)
{
	return (filter_word(slot, mask, hash) >> (hash & 63)) & 1;
}

/* A declared name has its bit in the word of its directory, by the length of the name. */
static __always_inline __u32 slot_bit(__u32 directory_hash, __u32 length)
{
	return ((directory_hash ^ (length * 0x9E3779B1U)) >> 26) & 63;
}

/* Bit of a directory that only lies above something declared: looked at when it is to be moved, and at no other time. */
static __always_inline __u32 move_bit(__u32 hash)
{
	return slot_bit(hash, 0);
}

/* Does this superblock hold anything protected? */
static __always_inline int superblock_guarded(__u32 slot, __u32 dev)
{
	__u32 index = slot * NBSP_SB_WORDS + ((dev ^ (dev >> 20)) & (NBSP_SB_WORDS - 1));
	__u64 *word = superblocks.lookup(&index);

	return word && ((*word >> ((dev >> 6) & 63)) & 1);
}

#define HASH_MULTIPLIER 0x9E3779B97F4A7C15ULL
#define SLOT_NAME_WORDS 8

/* Eight bytes of a name from `at` on, zeroes behind its end. */
static __always_inline __u64 name_word(const void *name, long length, long at)
{
	long rest = length - at;
	__u64 word = 0;

	rest &= ~(rest >> 63);		/* at least 0 */
	rest -= 8;
	rest &= rest >> 63;		/* at most 0: bytes that are too many, negative */
	bpf_probe_read_kernel(&word, sizeof(word), name + at);
	return (word << (-rest * 4)) << (-rest * 4) >> (-rest * 4) >> (-rest * 4);
}

/*
 * Hash of a name in the kernel's memory: all of it up to words * 8 bytes, of longer ones the last eight too.  The name itself
 * would be too large for the stack, and a per-CPU buffer is no place for it: these programs can be preempted by each other.
 */
static __always_inline __u64 name_hash(const void *name, long length, const int words)
{
	__u64 hash = length * HASH_MULTIPLIER;
	long i, tail;

#pragma clang loop unroll(disable)
	for (i = 0; i < words; i++) {
		hash = (hash ^ name_word(name, length, i * 8)) * HASH_MULTIPLIER;
		hash ^= hash >> 32;
	}
	/* the last eight bytes; of a shorter name nothing, for what stands before it is not part of it */
	tail = length - 8;
	return (hash ^ (name_word(name, length, tail) & ~(tail >> 63))) * HASH_MULTIPLIER;
}

/* What the walk can afford to hash of a name: its length, its first and its last eight bytes. */
static __always_inline __u64 name_hint(const void *name, long length)
{
	__u64 hint = (length * HASH_MULTIPLIER ^ name_word(name, length, 0)) * HASH_MULTIPLIER;
	long tail = length - 8;

	return ((hint ^ (hint >> 32)) ^ (name_word(name, length, tail) & ~(tail >> 63))) * HASH_MULTIPLIER;
}
