# What a Python step's script starts with, as far as it depends on the image: run by imglint in the image's own python3.
# Variables come encrypted, and are read by the package pycryptodome.
import base64
import sys


def say(outcome, said):
    print("@MARK@ variables:python3 " + outcome + " " + said)


try:
    from Crypto.Cipher import AES

    cipher = AES.new(bytes(range(16)), AES.MODE_CBC, bytes(range(15, -1, -1)))
    value = cipher.decrypt(base64.b64decode("pt4zR7JmQmrLs+BD/pFm0Di0Ys/kfxQ5aiYFFk9x8TY="))
    if value.startswith(b"imglint reads its variable"):
        say("pass", "a variable was decrypted")
    else:
        say("fail", "the variable's value is something else")
except Exception as error:
    say("fail", "without pycryptodome a step first has to install it: " + str(error))
sys.exit(42)
