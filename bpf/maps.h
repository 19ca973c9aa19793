/*
 * The tables.  nbspd creates and pins them before this text is compiled (daemon/programs/tables.py has the same list with
 * sizes); bcc only looks them up by their pins, so that programs of two versions share them during an upgrade.
 *
 * What belongs to one generation of rules exists twice, in slot 0 and slot 1.  A hook reads `actives` once and then uses
 * that slot for the rest of its decision: a reload writes the other slot, reads it back and flips the one word.
 */

#define TABLE(type, key, leaf, name, entries, flags) \
	BPF_F_TABLE(type ":" NBSP_MAPS "/" #name, key, leaf, name, entries, flags)

/* one word: 0 no generation is active, 1 slot 0, 2 slot 1 */
TABLE("array", __u32, __u32, actives, 1, 0);
TABLE("array", __u32, struct generation, generations, 2, 0);

/* bitmaps in front of the hashes: a miss costs no hash look-up */
TABLE("array", __u32, __u64, filters, 2 * NBSP_FILTER_WORDS, 1024);
TABLE("array", __u32, __u64, superblocks, 2 * NBSP_SB_WORDS, 0);
TABLE("array", __u32, __u64, ports, 4 * NBSP_PORT_WORDS, 0);

/* outer maps by generation slot; the inner ones are sized to the rule set */
TABLE("array_of_maps", __u32, __u32, objects, 2, 0);
TABLE("array_of_maps", __u32, __u32, slots, 2, 0);
TABLE("array_of_maps", __u32, __u32, pseudo_paths, 2, 0);
TABLE("array_of_maps", __u32, __u32, endpoints, 2, 0);
TABLE("array_of_maps", __u32, __u32, sun_names, 2, 0);
TABLE("array_of_maps", __u32, __u32, policies, 2, 0);
TABLE("array_of_maps", __u32, __u32, exes, 2, 0);
TABLE("array_of_maps", __u32, __u32, codes, 2, 0);

/* stamps: bits and units keep their meaning over generations, so these exist once */
TABLE("array", __u32, struct checkpoint, checkpoints, NBSP_STAMP_WORDS * 64, 0);
TABLE("hash", __u32, struct stamp, stamps, NBSP_STAMPS, 0);
TABLE("hash", struct unit_path, __u32, units, NBSP_UNITS, 0);
TABLE("hash", __u64, __u32, unit_cgroups, NBSP_UNIT_CGROUPS, 0);
TABLE("sk_storage", int, struct socket_stamp, sockets, 0, 1);

/* inodes that took over a slot since the last resolution, and a byte filter in front */
TABLE("hash", struct object_key, struct newborn, newborns, NBSP_NEWBORNS, 0);
TABLE("array", __u32, struct newborn_filter, newborn_filters, 1, 0);

TABLE("array", __u32, struct monitor, monitors, 1, 0);
TABLE("array", __u32, struct counter, counters, NBSP_RULES, 0);
TABLE("array", __u32, __u32, resolvers, 1, 0);
TABLE("array", __u32, struct resolved, resolutions, 1, 1024);
/* for cgroup_mkdir only, which the kernel runs under a lock: a program that can be preempted must not use it */
TABLE("percpu_array", __u32, struct scratch, scratches, 1, 0);

/* ring buffers: bcc declares their methods in a struct of their own */
#define RING(name) \
struct name##_table_t { \
	int key; \
	__u32 leaf; \
	int (*ringbuf_output)(void *, u64, u64); \
	void *(*ringbuf_reserve)(u64); \
	void (*ringbuf_discard)(void *, u64); \
	void (*ringbuf_submit)(void *, u64); \
	__u32 max_entries; \
}; \
__attribute__((section("maps/ringbuf:" NBSP_MAPS "/" #name))) struct name##_table_t name = { .max_entries = 0 }

RING(violations);	/* nothing but violations, so that chatter cannot push them out */
RING(notices);		/* names that appeared where a declared path is awaited */

/* The generation slot to judge by, or -1 when nothing is enforced. */
static __always_inline int active_slot(void)
{
	__u32 zero = 0;
	__u32 *active = actives.lookup(&zero);

	if (!active || !*active)
		return -1;
	return (*active - 1) & 1;
}
