/* SPDX-License-Identifier: GPL-2.0-only */
/* H4: the address that is asked for is not the address that is reached, or is asked for somewhere else. As root. */
#include "attempt.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/vm_sockets.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/wait.h>

#define TABLE "nbspd-drill"

static int command(const char *format, const char *argument)
{
	char *line = text(format, argument);
	int status = system(text("{ %s; } >&2", line));

	return status;
}

/* A contact with an address, in a child, so that the parent can tidy up whatever becomes of it. */
static int contacted(struct address to)
{
	pid_t child;
	int status;

	fflush(stdout);
	child = fork();
	if (!child) {
		if (is("over", "udp"))
			sent(sendto(udp_socket(to.storage.ss_family), given("token"), strlen(given("token")), 0, (void *)&to.storage,
				    to.size), "sendto");
		int fd = tcp_socket(to.storage.ss_family, 0);

		ok(connect(fd, (void *)&to.storage, to.size), "connect");
		greet(fd);
	}
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : BLOCKED;
}

TECHNIQUE("new-address")	/* one more address on the loopback device, made after the rules; over=tcp | udp */
{
	int status;

	if (command("ip address add %s dev lo scope link", text("%s/%s", given("address"), strchr(given("address"), ':') ? "128 nodad" : "32")))
		broken("the address cannot be added");
	status = contacted(given_address());
	command("ip address del %s dev lo", text("%s/%d", given("address"), strchr(given("address"), ':') ? 128 : 32));
	_exit(status);
}

TECHNIQUE("any-address")	/* a route that makes a network of others local */
{
	bool is_6 = strchr(given("address"), ':');
	int status;

	if (command(is_6 ? "ip -6 route add local %s dev lo" : "ip route add local %s dev lo", given("network")))
		broken("the route cannot be added");
	status = contacted(given_address());
	command(is_6 ? "ip -6 route del local %s dev lo" : "ip route del local %s dev lo", given("network"));
	_exit(status);
}

TECHNIQUE("link-local")		/* fe80::…%device: an address that needs a scope */
{
	int status;

	if (command("ip -6 address add %s/64 dev lo nodad scope link", given("address")))
		broken("the address cannot be added");
	status = contacted(address_of(text("%s%%lo", given("address")), number("port", 0)));
	command("ip -6 address del %s/64 dev lo", given("address"));
	_exit(status);
}

TECHNIQUE("other-namespace")	/* from another network namespace, over a pair of virtual cards */
{
	int ready[2], go[2], status;
	char byte;
	pid_t child;

	ok(pipe(ready), "pipe");
	ok(pipe(go), "pipe");
	child = ok(fork(), "fork");
	if (!child) {
		die_with_parent();
		ok(unshare(CLONE_NEWNET), "unshare(CLONE_NEWNET)");
		if (write(ready[1], "!", 1) != 1 || read(go[0], &byte, 1) != 1)
			_exit(BROKEN);
		if (command("ip link set %s up && ip -6 address add fd77:8::2/64 dev nbspdrillb nodad", "nbspdrillb"))
			broken("the card in the namespace cannot be set up");
		usleep(100000);
		_exit(contacted(given_address()));
	}
	ok(read(ready[0], &byte, 1), "read");
	status = command("ip link add nbspdrilla type veth peer name nbspdrillb netns %s && ip link set nbspdrilla up && "
			 "ip -6 address add fd77:8::1/64 dev nbspdrilla nodad", text("%d", child));
	if (status) {
		if (command("ip link show nbspdrilla 2>/dev/null%s", ""))
			absent("this kernel makes no veth");
		broken("the pair of cards cannot be set up");
	}
	ok(write(go[1], "!", 1), "write");
	waitpid(child, &status, 0);
	command("ip link del %s", "nbspdrilla");
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : BLOCKED);
}

TECHNIQUE("socket-from-elsewhere")	/* made in another network namespace, which was then left: it stays there */
{
	int home = ok(open("/proc/self/ns/net", O_RDONLY), "open the namespace"), fd;
	struct address to = given_address();

	ok(unshare(CLONE_NEWNET), "unshare(CLONE_NEWNET)");
	ok(setns(home, CLONE_NEWNET), "setns");
	fd = tcp_socket(to.storage.ss_family, 0);
	ok(connect(fd, (void *)&to.storage, to.size), "connect");
	greet(fd);
}

TECHNIQUE("vsock")	/* to ourselves: the loopback of AF_VSOCK */
{
	struct sockaddr_vm to = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_LOCAL, .svm_port = number("port", 0)};
	int fd = ok(socket(AF_VSOCK, SOCK_STREAM, 0), "vsock socket");

	if (!to.svm_port)
		absent("vsock: nobody can listen");

	if (connect(fd, (void *)&to, sizeof(to)) < 0) {
		if (errno == ENODEV || errno == ECONNRESET || errno == EADDRNOTAVAIL || errno == ETIMEDOUT)
			absent("vsock: no server can be reached at the local address (%s)", strerrorname_np(errno));
		failed("connect");
	}
	greet(fd);
}

/* -- nf_tables by netlink: a table that turns one address and port into another one */

static char batch[4096];
static size_t used;

static struct nlmsghdr *message(int type, int flags, int family, int resource)
{
	struct nlmsghdr *head = (void *)(batch + used);
	struct nfgenmsg *generic = NLMSG_DATA(head);

	*head = (struct nlmsghdr){.nlmsg_len = NLMSG_LENGTH(sizeof(*generic)), .nlmsg_type = type,
				  .nlmsg_flags = NLM_F_REQUEST | flags, .nlmsg_seq = used};
	*generic = (struct nfgenmsg){.nfgen_family = family, .res_id = htons(resource)};
	used += head->nlmsg_len;
	return head;
}

static struct nlattr *attribute(int type, const void *bytes, size_t size)
{
	struct nlattr *made = (void *)(batch + used);

	made->nla_type = type;
	made->nla_len = NLA_HDRLEN + size;
	if (size)
		memcpy((char *)made + NLA_HDRLEN, bytes, size);
	used += NLA_ALIGN(made->nla_len);
	return made;
}

static void word(int type, uint32_t value)
{
	value = htonl(value);
	attribute(type, &value, 4);
}

static void string(int type, const char *value)
{
	attribute(type, value, strlen(value) + 1);
}

static struct nlattr *nest(int type)
{
	return attribute(type | NLA_F_NESTED, NULL, 0);
}

static void close_nest(struct nlattr *opened)
{
	opened->nla_len = batch + used - (char *)opened;
}

static void close_message(struct nlmsghdr *head)
{
	head->nlmsg_len = batch + used - (char *)head;
}

static void constant(int type, const void *bytes, size_t size)
{
	struct nlattr *outer = nest(type);

	attribute(NFTA_DATA_VALUE, bytes, size);
	close_nest(outer);
}

static struct nlattr *expression(const char *name, struct nlattr **data)
{
	struct nlattr *made = nest(NFTA_LIST_ELEM);

	string(NFTA_EXPR_NAME, name);
	*data = nest(NFTA_EXPR_DATA);
	return made;
}

static void matching(uint32_t base, uint32_t offset, const void *bytes, size_t size)
{
	struct nlattr *data, *made = expression("payload", &data);

	word(NFTA_PAYLOAD_DREG, NFT_REG_1);
	word(NFTA_PAYLOAD_BASE, base);
	word(NFTA_PAYLOAD_OFFSET, offset);
	word(NFTA_PAYLOAD_LEN, size);
	close_nest(data);
	close_nest(made);
	made = expression("cmp", &data);
	word(NFTA_CMP_SREG, NFT_REG_1);
	word(NFTA_CMP_OP, NFT_CMP_EQ);
	constant(NFTA_CMP_DATA, bytes, size);
	close_nest(data);
	close_nest(made);
}

static void loaded(uint32_t where, const void *bytes, size_t size)
{
	struct nlattr *data, *made = expression("immediate", &data);

	word(NFTA_IMMEDIATE_DREG, where);
	constant(NFTA_IMMEDIATE_DATA, bytes, size);
	close_nest(data);
	close_nest(made);
}

static int commit(void)		/* sends the batch and returns the first error, positive, or 0 */
{
	int fd = ok(socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER), "netlink socket");
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	struct timeval limit = {.tv_sec = 1};
	char answer[8192];
	ssize_t size;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	ok(sendto(fd, batch, used, 0, (void *)&kernel, sizeof(kernel)), "sending to nf_tables");
	size = recv(fd, answer, sizeof(answer), 0);
	close(fd);
	if (size < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)))
		return size < 0 ? errno : EPROTO;
	return -((struct nlmsgerr *)NLMSG_DATA((struct nlmsghdr *)answer))->error;
}

static int nf(int type)
{
	return NFNL_SUBSYS_NFTABLES << 8 | type;
}

static int redirect(const char *from, int port, const char *to)
{
	struct in_addr address;
	struct nlmsghdr *head;
	struct nlattr *list, *data, *made;
	uint16_t number_ = htons(port);

	used = 0;
	message(NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	head = message(nf(NFT_MSG_NEWTABLE), NLM_F_CREATE, AF_INET, 0);
	string(NFTA_TABLE_NAME, TABLE);
	close_message(head);
	head = message(nf(NFT_MSG_NEWCHAIN), NLM_F_CREATE, AF_INET, 0);
	string(NFTA_CHAIN_TABLE, TABLE);
	string(NFTA_CHAIN_NAME, "output");
	string(NFTA_CHAIN_TYPE, "nat");
	made = nest(NFTA_CHAIN_HOOK);
	word(NFTA_HOOK_HOOKNUM, NF_INET_LOCAL_OUT);
	word(NFTA_HOOK_PRIORITY, -100);
	close_nest(made);
	close_message(head);
	head = message(nf(NFT_MSG_NEWRULE), NLM_F_CREATE | NLM_F_APPEND | NLM_F_ACK, AF_INET, 0);
	string(NFTA_RULE_TABLE, TABLE);
	string(NFTA_RULE_CHAIN, "output");
	list = nest(NFTA_RULE_EXPRESSIONS);
	inet_pton(AF_INET, from, &address);
	matching(NFT_PAYLOAD_NETWORK_HEADER, 16, &address, 4);
	inet_pton(AF_INET, to, &address);
	loaded(NFT_REG_1, &address, 4);
	loaded(NFT_REG_2, &number_, 2);
	made = expression("nat", &data);
	word(NFTA_NAT_TYPE, NFT_NAT_DNAT);
	word(NFTA_NAT_FAMILY, AF_INET);
	word(NFTA_NAT_REG_ADDR_MIN, NFT_REG_1);
	word(NFTA_NAT_REG_PROTO_MIN, NFT_REG_2);
	close_nest(data);
	close_nest(made);
	close_nest(list);
	close_message(head);
	message(NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	return commit();
}

static void forget(void)
{
	struct nlmsghdr *head;

	used = 0;
	message(NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	head = message(nf(NFT_MSG_DELTABLE), NLM_F_ACK, AF_INET, 0);
	string(NFTA_TABLE_NAME, TABLE);
	close_message(head);
	message(NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	commit();
}

TECHNIQUE("dnat")	/* address= and port= are reached by asking for from=, port 9; over=tcp | udp */
{
	const char *from = given("from");
	int error, status;

	if (command("ip route add %s/32 dev lo", from))		/* the packet has to set out for somewhere */
		broken("the route cannot be added");
	error = redirect(from, number("port", 0), given("address"));
	if (error) {
		command("ip route del %s/32 dev lo", from);
		errno = error;
		if (error == ENOENT || error == EINVAL)
			absent("nf_tables cannot translate addresses here (%s)", strerrorname_np(error));
		failed("nf_tables");
	}
	status = contacted(address_of(from, 9));
	forget();
	command("ip route del %s/32 dev lo", from);
	_exit(status);
}
