/* SPDX-License-Identifier: GPL-2.0-only */
/* H6, PR_SET_MM: /proc/PID/exe shows the checkpoint, the process is another. */
#include "attempt.h"

#include <sys/mman.h>
#include <sys/prctl.h>


#ifdef __x86_64__
#define PR_SET_MM_MAP_ 14

struct layout {		/* struct prctl_mm_map */
	uint64_t start_code, end_code, start_data, end_data, start_brk, brk, start_stack, arg_start, arg_end, env_start, env_end;
	uint64_t auxv;
	uint32_t auxv_size, exe_fd;
};

static struct layout layout(void)	/* ours as it is: numbers 26 and following of /proc/self/stat */
{
	struct layout found = {.brk = (uintptr_t)sbrk(0)};
	uint64_t *const places[] = {[26] = &found.start_code, [27] = &found.end_code, [28] = &found.start_stack,
				    [45] = &found.start_data, [46] = &found.end_data, [47] = &found.start_brk,
				    [48] = &found.arg_start, [49] = &found.arg_end, [50] = &found.env_start, [51] = &found.env_end};
	char line[1024] = {0}, *word, *rest;
	int fd = ok(open("/proc/self/stat", O_RDONLY), "open /proc/self/stat"), number_ = 3;

	ok(read(fd, line, sizeof(line) - 1), "read /proc/self/stat");
	close(fd);
	for (word = strtok_r(strrchr(line, ')') + 1, " ", &rest); word && number_ < 52; word = strtok_r(NULL, " ", &rest), number_++)
		if (places[number_])
			*places[number_] = strtoull(word, NULL, 10);
	return found;
}

static inline __attribute__((always_inline)) long raw(long call, long a, long b, long c, long d, long e)
{
	register long r10 asm("r10") = d;
	register long r8 asm("r8") = e;
	long result;

	asm volatile("syscall" : "=a"(result) : "0"(call), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
	return result;
}

struct spoof {
	unsigned long start, size;
	long exe, waits, is_map;
	struct layout map;
	char target[512], ready[8], bytes[1024];
};

/* Runs from a page of its own while the program that it came from is unmapped; so it calls nothing and names nothing. */
__attribute__((noinline, noipa, section(".text.spoof"))) static void spoof(struct spoof *told)
{
	long fd, size;

	raw(SYS_munmap, told->start, told->size, 0, 0, 0);
	if (told->is_map)
		size = raw(SYS_prctl, PR_SET_MM, PR_SET_MM_MAP_, (long)&told->map, sizeof(told->map), 0);
	else
		size = raw(SYS_prctl, PR_SET_MM, PR_SET_MM_EXE_FILE, told->exe, 0, 0);
	if (size < 0)
		raw(SYS_exit_group, size == -EPERM || size == -EACCES ? BLOCKED : BROKEN, 0, 0, 0, 0);
	if (told->waits) {
		raw(SYS_write, 1, (long)told->ready, 6, 0, 0);
		raw(SYS_read, 0, (long)told->bytes, 1, 0, 0);
	}
	fd = raw(SYS_open, (long)told->target, O_RDONLY, 0, 0, 0);
	if (fd < 0)
		raw(SYS_exit_group, fd == -EPERM || fd == -EACCES ? BLOCKED : BROKEN, 0, 0, 0, 0);
	size = raw(SYS_read, fd, (long)told->bytes, 1024, 0, 0);
	raw(SYS_write, 1, (long)told->bytes, size, 0, 0);
	raw(SYS_exit_group, 0, 0, 0, 0, 0);
}
#endif

/* when=now, or before: done before the rules, found by the scan of running processes. With via=userns by PR_SET_MM_MAP,
 * for which a user namespace of one's own is enough */
TECHNIQUE("spoofed-exe")
{
#ifdef __x86_64__
	struct spoof *told = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char line[512], self[512] = {0};
	unsigned long long held = 0;
	FILE *maps = fopen("/proc/self/status", "r");

	if (told == MAP_FAILED)
		broken("mmap: %s", strerror(errno));
	while (maps && fgets(line, sizeof(line), maps))
		sscanf(line, "CapEff: %llx", &held);
	if (!in_userns() && !(held >> 24 & 1))
		absent("root has no CAP_SYS_RESOURCE here");
	told->exe = ok(open(given("checkpoint"), O_RDONLY), "open the checkpoint");
	told->waits = is("when", "before");
	told->is_map = in_userns();
	if (told->is_map) {
		own_mounts();
		told->map = layout();
		told->map.exe_fd = told->exe;
	}
	strcpy(told->ready, "ready\n");
	strncpy(told->target, given("target"), sizeof(told->target) - 1);
	memcpy((char *)told + 4096, (void *)spoof, 1024);
	ok(readlink("/proc/self/exe", self, sizeof(self) - 1), "readlink");
	maps = fopen("/proc/self/maps", "r");
	while (maps && fgets(line, sizeof(line), maps)) {
		unsigned long start, stop;

		if (strstr(line, self) && sscanf(line, "%lx-%lx", &start, &stop) == 2) {
			told->start = told->start ?: start;
			told->size = stop - told->start;
		}
	}
	fflush(stdout);
	((void (*)(struct spoof *))(void *)((char *)told + 4096))(told);
#endif
	absent("the code is for x86-64");
}
