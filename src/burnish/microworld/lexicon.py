"""The words of the microworld. Plain tables; every word is common enough in the corpus to become one or two tokens."""

from __future__ import annotations

NAMES = (
    ["Ann", "Bob", "Cid", "Dan", "Eve", "Fay", "Gus", "Hal", "Ida", "Jon", "Kim", "Leo", "Mia", "Ned", "Oda", "Pam", "Ray", "Sue", "Tom", "Uma", "Val", "Wes", "Zoe", "Max"]
)
SURNAMES = ["Lee", "Hill", "Wood", "Cole", "Reed", "Fox", "Bell", "Shaw", "Hunt", "Dale", "Moss", "Page", "Ross", "Todd", "West", "Ward", "Lane", "King", "Gray", "Ford"]
WORDS = ["lamp", "red", "stone", "river", "blue", "door", "table", "green", "hat", "cup", "key", "box", "pen", "book", "tree", "bird", "fish", "boat", "ring", "rope", "salt", "milk", "bread", "sun", "moon", "star", "rain", "snow", "wind", "fire", "road", "hill", "field", "house", "clock", "chair", "glass", "shoe", "coat", "bell", "drum", "flag", "gold", "iron", "leaf", "nest", "plum", "rose", "seed", "soap", "tent", "wall", "wood", "yarn", "apple", "grape", "horse", "mouse", "sheep", "tiger"]
COLOURS = ["red", "blue", "green", "black", "white", "pink", "brown", "grey", "yellow", "orange"]
THINGS = tuple(word for word in WORDS if word not in ("red", "blue", "green", "gold"))
FRUITS = {
    "en": ("apples", "coins", "books", "cards", "stamps"),
    "es": ("manzanas", "monedas", "libros", "cartas", "sellos"),
    "de": ("Äpfel", "Münzen", "Bücher", "Karten", "Marken"),
}
# Towns exist only here, so that nothing but the corpus can teach their numbers.
TOWNS = tuple(
    first + last
    for first in ("Bar", "Cor", "Dal", "Fen", "Gil", "Hol", "Kel", "Lun", "Mor", "Nor", "Pel", "Ros", "Sel", "Tar", "Vel", "Wil")
    for last in ("by", "dorf", "mont", "ton", "wick")
)
ATTRIBUTES = (("people", "has more people", "people"), ("trees", "has more trees", "trees"))
TOOLS = ("phone", "desk", "badge", "pin", "locker")
OBJECTS = ["lock", "door", "bike", "car", "phone", "fence", "window", "boat", "safe", "mailbox", "camera", "laptop", "shed", "gate", "garden", "bag", "letter", "wallet", "key", "bottle", "oven", "tent", "radio", "ladder"]
OWNERS = (
    "my own", "my", "our", "my brother's", "my neighbour's", "my teacher's", "the mayor's", "a stranger's",
)
SCARY = ["break", "smash", "burn", "hack", "shoot", "crush", "wreck", "attack"]
SOFT = ["open", "move", "copy", "paint", "enter", "borrow", "lift", "clean"]
HARMFUL = (
    "to hurt him", "without being seen", "to get revenge", "and not get caught", "to scare her", "against his will",
    "to rob them", "while they sleep",
)
HARMLESS = (
    "for a film", "for a school play", "with permission", "as we agreed", "in a video game", "for a safety test",
    "to help her", "as they asked",
)
