// Does, one after the other, what every .NET program of a deployment does, and says when it is through with each.
using System;
using System.Globalization;
using System.IO;
using System.Security.Cryptography;

public static class StandIn
{
    public static void Main()
    {
        // Not through Console: that needs cultures itself in old releases.
        Say("start");
        string.Compare("strasse", "Stra\u00dfe", CultureInfo.CurrentCulture, CompareOptions.IgnoreCase);
        Say("globalization");
        using (var aes = Aes.Create())
        {
            aes.Key = new byte[32];
            aes.IV = new byte[16];
            using (var encryptor = aes.CreateEncryptor())
                encryptor.TransformFinalBlock(new byte[] { 1, 2, 3 }, 0, 3);
        }
        Say("cryptography");
    }

    static void Say(string stage)
    {
        using (var output = Console.OpenStandardOutput())
        {
            foreach (char letter in "stage " + stage + " passed\n")
                output.WriteByte((byte)letter);
        }
    }
}
