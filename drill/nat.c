/* SPDX-License-Identifier: GPL-2.0-only */
/* H4: an address that the host itself turns into another one, by a table of nf_tables made over netlink. As root. */
#include "attempt.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#define TABLE "nbspd-drill"


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

static void translate(const char *from)
{
	int error;

	if (command("ip route add %s/32 dev lo", from))		/* the packet has to set out for somewhere */
		broken("the route cannot be added");
	error = redirect(from, number("port", 0), given("address"));
	if (!error)
		return;
	command("ip route del %s/32 dev lo", from);
	errno = error;
	if (error == ENOENT || error == EINVAL)
		absent("nf_tables cannot translate addresses here (%s)", strerrorname_np(error));
	failed("nf_tables");
}

static _Noreturn void untranslate(const char *from, int status)
{
	forget();
	command("ip route del %s/32 dev lo", from);
	_exit(status);
}

TECHNIQUE("dnat")	/* address= and port= are reached by asking for from=, port 9; over=tcp | udp */
{
	const char *from = given("from");

	translate(from);
	untranslate(from, contacted(address_of(from, 9)));
}

TECHNIQUE("dnat-passed")	/* by a socket from which the checkpoint sent, and which is connected to nothing */
{
	const char *from = given("from"), *token = given("token");
	struct address to = address_of(from, 9);
	int fd = receive_from_checkpoint(), status;

	translate(from);
	status = sendto(fd, token, strlen(token), 0, (void *)&to.storage, to.size) < 0 && errno == EPERM ? BLOCKED : DONE;
	usleep(200000);
	untranslate(from, status);
}
