/* SPDX-License-Identifier: GPL-2.0-only */
/* The foreign library of the attempts: wherever it is loaded, it reads the target with that process's stamp. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

unsigned int la_version(unsigned int version);

unsigned int la_version(unsigned int version)	/* without it LD_AUDIT drops the library before it does anything */
{
	return version;
}

__attribute__((constructor)) static void act(void)
{
	const char *target = getenv("NBSP_DRILL_TARGET");
	char bytes[4096];
	ssize_t size;
	int fd;

	if (!target)
		return;
	fd = open(target, O_RDONLY);
	if (fd < 0)
		_exit(10);
	while ((size = read(fd, bytes, sizeof(bytes))) > 0)
		if (write(1, bytes, size) != size)
			break;
	_exit(0);
}
