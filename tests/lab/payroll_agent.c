/*
 * The agent program of rules/50 in the lab: does one act on files and says what became of it, "done" or the error's words.
 *
 *     payroll-agent read PATH | write PATH TEXT | create PATH | truncate PATH | list PATH | mkdir PATH | rmdir PATH |
 *                   unlink PATH | chmod PATH | setxattr PATH | symlink PATH | rename FROM TO | link FROM TO
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static int copy_out(const char *path)
{
	char text[4096];
	ssize_t size;
	int fd = open(path, O_RDONLY);

	if (fd < 0)
		return -1;
	while ((size = read(fd, text, sizeof(text))) > 0)
		fwrite(text, 1, size, stdout);
	return close(fd);
}

static int put(const char *path, const char *text, int flags)
{
	int fd = open(path, O_WRONLY | flags, 0600);

	if (fd < 0)
		return -1;
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		return -1;
	return close(fd);
}

static int list(const char *path)
{
	struct dirent *entry;
	DIR *folder = opendir(path);

	if (!folder)
		return -1;
	while ((entry = readdir(folder)))
		puts(entry->d_name);
	return closedir(folder);
}

static int act(const char *verb, const char *path, const char *other)
{
	if (!strcmp(verb, "read"))
		return copy_out(path);
	if (!strcmp(verb, "write"))
		return put(path, other, O_CREAT | O_APPEND);
	if (!strcmp(verb, "create"))
		return put(path, "", O_CREAT | O_EXCL);
	if (!strcmp(verb, "truncate"))
		return truncate(path, 0);
	if (!strcmp(verb, "list"))
		return list(path);
	if (!strcmp(verb, "mkdir"))
		return mkdir(path, 0755);
	if (!strcmp(verb, "rmdir"))
		return rmdir(path);
	if (!strcmp(verb, "unlink"))
		return unlink(path);
	if (!strcmp(verb, "chmod"))
		return chmod(path, 0644);
	if (!strcmp(verb, "setxattr"))
		return setxattr(path, "user.kept", "1", 1, 0);
	if (!strcmp(verb, "symlink"))
		return symlink("/etc/hostname", path);
	if (!strcmp(verb, "rename"))
		return rename(path, other);
	if (!strcmp(verb, "link"))
		return link(path, other);
	errno = EINVAL;
	return -1;
}

int main(int count, char **words)
{
	if (count < 3) {
		fprintf(stderr, "usage: %s VERB PATH [OTHER]\n", words[0]);
		return 2;
	}
	if (act(words[1], words[2], count > 3 ? words[3] : "")) {
		printf("%s: %s: %s\n", words[1], words[2], strerror(errno));
		return 1;
	}
	puts("done");
	return 0;
}
