/* The library that CUDA's bindings load as the driver: it asks Python for each function. */
typedef int (*resolver)(const char *, void **);
static resolver resolve;
void sgd_ref_answer_with(resolver function) { resolve = function; }
int cuGetProcAddress_v2(const char *symbol, void **function, int version, unsigned long long flags, int *status) {
    int result = resolve(symbol, function);
    if (status) *status = result ? 1 : 0;
    return result;
}
