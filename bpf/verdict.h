/*
 * The judge.  The only place that says no, and the only one that reports.
 *
 * A policy holds at most NBSP_CLAUSES clauses, one a rule.  Every clause that covers the wanted access must be satisfied: the
 * subject carries one of the stamps it accepts.  A policy that cannot be read denies: the object is known to be protected.
 */

static __always_inline int clause_accepts(struct question *q, struct clause *clause)
{
	void *task = (void *)bpf_get_current_task();
	__u64 *bits;
	__u64 both;
	int word, i;

	if (q->socket)
		bits = q->socket->bits;
	else if (q->stamp)
		bits = q->stamp->bits;
	else
		return 0;
#pragma clang loop unroll(disable)
	for (word = 0; word < NBSP_STAMP_WORDS; word++) {
		both = clause->accept[word] & bits[word];
		/* of 64 stamps that this rule accepts, four are looked at; more than four that do not count deny */
#pragma clang loop unroll(disable)
		for (i = 0; i < 4; i++) {
			if (!both)
				break;
			if (q->socket)
				return 1;	/* they were checked when the socket got them */
			if (stamp_counts(task, word * 64 + lowest_bit(both)))
				return 1;
			both &= both - 1;
		}
	}
	return 0;
}

/* What a program type can do to the process beside saying no. */
#define CANNOT_SIGNAL 0	/* cgroup and tc programs: the daemon kills, if the rule says so */
#define CAN_SIGNAL 1
#define MUST_KILL 2	/* too late to say no: the process ends before its next instruction */

/* Returns 0 or -EPERM. */
static __always_inline int judge(struct question *q, const int power)
{
	void *inner = policies.lookup(&q->slot);
	struct policy *policy;
	struct clause *clause;
	int i, denied = 0;
	__u8 verdict;

	policy = inner ? bpf_map_lookup_elem(inner, &q->policy) : 0;
	if (!policy) {
		report(q, 0, VERDICT_DENIED);
		return -EPERM;
	}
#pragma clang loop unroll(disable)
	for (i = 0; i < NBSP_CLAUSES; i++) {
		if (i >= policy->count)
			break;
		clause = &policy->clauses[i];
		if (!(clause->access & q->wanted) || clause_accepts(q, clause))
			continue;
		verdict = VERDICT_AUDITED;
		if (clause->mode == MODE_ENFORCE) {
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
