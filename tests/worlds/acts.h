/* What actor.c asks of acts.c. */
#include <sys/socket.h>

#define KILLED 1000	/* no errno: the process that tried was killed */
#define BROKEN 1001	/* it says why */

int act(int count, char **word);
int broken(const char *what);
socklen_t inet_address(struct sockaddr_storage *to, const char *address, const char *port);
socklen_t unix_address(struct sockaddr_storage *to, const char *name);
