/*
 * How a hook is written once and attached in two ways: through the bpf LSM, or (where `lsm=` lacks bpf) as fmod_ret on
 * the security_ function that calls the LSMs.  NBSP_TIER_* is set by the builder; ARG_* and ARGS_* come from this
 * kernel's BTF, since the order of parameters differs between kernels.
 */

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

#define EPERM 1

/* In both tiers fmod_ret: where the kernel does not tell the LSMs all that it tells the security_ function. */
#define FUNCTION_HOOK(function) int kmod_ret__##function(unsigned long long *ctx)
/* fmod_ret: the value so far comes after the arguments; a refusal by another stands */
#define RESPECT_EARLIER_FUNCTION(name) do { if ((int)ctx[ARGS_##name]) return (int)ctx[ARGS_##name]; } while (0)

#ifdef NBSP_TIER_LSM
#define HOOK(name, function) int lsm__##name(unsigned long long *ctx)
#define RESPECT_EARLIER(name) do { } while (0)
#else
#define HOOK(name, function) FUNCTION_HOOK(function)
#define RESPECT_EARLIER(name) RESPECT_EARLIER_FUNCTION(name)
#endif

#define ARG(name, parameter, type) ((type)ctx[ARG_##name##_##parameter])

/*
 * Reads a member behind a pointer that the verifier does not know.  Written with offsetof, so that bcc's rewriter leaves
 * it alone.  A fault gives zeroes.
 */
#define READ(target, pointer, type, member) \
	bpf_probe_read_kernel(&(target), sizeof(target), (void *)(pointer) + __builtin_offsetof(struct type, member))

/* Makes the compiler forget what it knows of a value, so that a bound check after it is there for the verifier to see. */
#define HIDE(value) asm volatile("" : "+r"(value))
