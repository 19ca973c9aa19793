/*
 * The judge.  The only place that says no, and the only one that reports.
 *
 * A policy holds at most NBSP_CLAUSES clauses, one a rule.  Every clause that covers the wanted access must be satisfied: the
 * subject carries one of the stamps it accepts.  A policy that cannot be read denies: the object is known to be protected.
 */

static __always_inline int clause_accepts(struct question *q, struct clause *clause, __u32 counting)
{
	__u64 accepted = 0, bit;
	unsigned long i;

	if (q->socket) {	/* its stamps were checked when it got them */
#pragma clang loop unroll(disable)
		for (i = 0; i < NBSP_STAMP_WORDS; i++)
			accepted |= clause->accept[i] & q->socket->bits[i];
		return accepted != 0;
	}
	if (!q->stamp)
		return 0;
#pragma clang loop unroll(disable)
	for (i = 0; i < NBSP_STAMPS_HELD; i++) {
		bit = q->stamp->list[i] - 1;
		accepted |= (clause->accept[(bit >> 6) & (NBSP_STAMP_WORDS - 1)] >> (bit & 63)) & (counting >> i) & 1;
	}
	return accepted != 0;
}

/* What a program type can do to the process beside saying no. */
#define CANNOT_SIGNAL 0	/* cgroup and tc programs: the daemon kills, if the rule says so */
#define CAN_SIGNAL 1
#define MUST_KILL 2	/* too late to say no: the process ends before its next instruction */
#define WILL_EXECUTE 4	/* as CANNOT_SIGNAL; the stamps are those after an exec, and the program is not there yet */
#define CANNOT_AUDIT 3	/* the same was asked before, and what is only written down was: as CANNOT_SIGNAL, else */

/* Returns 0 or -EPERM. */
static __always_inline int judge(struct question *q, const int power)
{
	void *inner = policies.lookup(&q->slot);
	struct policy *policy = inner ? bpf_map_lookup_elem(inner, &q->policy) : 0;
	__u32 counting = 0, nobody = 0, relaxed = rule_under_maintenance();
	struct clause *clause;
	unsigned long i;
	int denied = 0;
	__u8 verdict;

	if (inner && !policy)	/* policy 0 is nbspd's own: nobody, for whatever could not be decided */
		policy = bpf_map_lookup_elem(inner, &nobody);
	if (!policy) {
		count_unreported();
		return -EPERM;
	}
	if (q->stamp)
		counting = counting_stamps(q->stamp, power == MUST_KILL || power == WILL_EXECUTE);
	/* one place that reports: everything here is inlined into every hook, and compiled as often */
#pragma clang loop unroll(disable)
	for (i = 0; i < NBSP_CLAUSES; i++) {
		if (i >= policy->count)
			break;
		clause = &policy->clauses[i];
		if (!(clause->access & q->wanted) || clause_accepts(q, clause, counting))
			continue;
		if (power == CANNOT_AUDIT && clause->mode == MODE_AUDIT)
			continue;
		verdict = VERDICT_AUDITED;
		if (clause->mode == MODE_ENFORCE && clause->rule != relaxed) {
			denied = 1;
			verdict = VERDICT_DENIED;
			if (power == MUST_KILL || (power == CAN_SIGNAL && clause->action == ACTION_KILL)) {
				bpf_send_signal(9);
				verdict = VERDICT_KILLED;
			}
		}
		report(q, clause->rule, verdict);
	}
	return denied ? -EPERM : 0;
}
