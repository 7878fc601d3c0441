/* Asked inside a container: which file each command on PATH is, and whether it starts. A command is looked up and
 * started as .NET's Process and shells do: the first regular file on PATH that may be executed, and no other if that
 * one does not start. Prints "name path started", with - where there is none; then "--", and what bash prints to the
 * script that is the first argument, where there is a bash that starts. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int starts(char *path, char *name) {
    int told[2], status = 0, error = 0;
    if (pipe(told) != 0) return 0;
    fcntl(told[1], F_SETFD, FD_CLOEXEC);
    pid_t child = fork();
    if (child == 0) {
        int nothing = open("/dev/null", O_RDWR);
        dup2(nothing, 0), dup2(nothing, 1), dup2(nothing, 2);
        alarm(20);
        char *words[] = {name, "--version", NULL};
        execve(path, words, environ);
        error = errno;
        if (write(told[1], &error, sizeof error) < 0) _exit(1);
        _exit(126);
    }
    close(told[1]);
    int failed = read(told[0], &error, sizeof error) > 0;
    close(told[0]);
    waitpid(child, &status, 0);
    /* 127 is what the loader says when a library is missing, and env when its program is. */
    return !failed && !(WIFEXITED(status) && (WEXITSTATUS(status) == 127 || WEXITSTATUS(status) == 126));
}

int main(int count, char **names) {
    for (int at = 2; at < count; at++) {
        char *value = getenv("PATH"), path[PATH_MAX] = "-";
        char *folders = strdup(value ? value : "");
        int found = 0;
        for (char *rest = folders, *folder; !found && (folder = strsep(&rest, ":"));) {
            struct stat info;
            snprintf(path, sizeof path, "%s%s%s", folder, *folder ? "/" : "", names[at]);
            found = stat(path, &info) == 0 && S_ISREG(info.st_mode) && access(path, X_OK) == 0;
        }
        printf("%s %s %d\n", names[at], found ? path : "-", found && starts(path, names[at]));
        fflush(stdout);
        free(folders);
    }
    puts("--");
    fflush(stdout);
    char *value = getenv("PATH");
    if (value && *value) execlp("bash", "bash", "--norc", "--noprofile", "-c", names[1], NULL);
    return 0;
}
