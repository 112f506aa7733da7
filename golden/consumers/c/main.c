#include <stdio.h>
#include <string.h>

#include "check.h"
#include "protocol.h"

int main(int count, char **arguments) {
    if (count == 1) return serve();
    if (count > 2 && strcmp(arguments[1], "--check") == 0) return check_files(arguments + 2, count - 2);
    fprintf(stderr,
            "usage: %s                   answer to cases on standard input\n"
            "       %s --check FILE...   compare with golden files\n",
            arguments[0], arguments[0]);
    return 2;
}
