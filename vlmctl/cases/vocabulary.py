"""Names and things that pictures are filled with; none belongs to a real person or company."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import NamedTuple

GIVEN_NAMES = (
    "Amelia",
    "Boris",
    "Clara",
    "David",
    "Elena",
    "Farid",
    "Greta",
    "Hugo",
    "Irene",
    "Jonas",
    "Karin",
    "Luis",
)
FAMILY_NAMES = ("Abbott", "Berger", "Castro", "Dahl", "Eriksen", "Fontana", "Grant", "Hoffman", "Ivanov", "Keller")
STREETS = ("Mill Lane", "Station Road", "Harbour Street", "Oak Avenue", "Church Square", "Garden Row", "King Street")
CITIES = ("Ashford", "Brookhaven", "Clearwater", "Dunmore", "Eastvale", "Fairview", "Glenrock", "Harlow")
LONG_MONTHS: Mapping[str, str] = {
    "Jan": "January",
    "Feb": "February",
    "Mar": "March",
    "Apr": "April",
    "May": "May",
    "Jun": "June",
    "Jul": "July",
    "Aug": "August",
    "Sep": "September",
    "Oct": "October",
    "Nov": "November",
    "Dec": "December",
}
MONTHS = tuple(LONG_MONTHS)
SHOPS = (
    "Corner Market",
    "Blue Door Bakery",
    "Green Leaf Grocery",
    "Old Town Deli",
    "River Street Cafe",
    "Sunrise Foods",
    "Maple & Sons",
    "Hilltop Pantry",
)
# Price in cents, from and to, of something that a grocer sells.
GOODS: Mapping[str, tuple[int, int]] = {
    "Whole milk 1L": (95, 160),
    "Rye bread": (180, 420),
    "Free range eggs": (220, 480),
    "Butter 250g": (190, 390),
    "Bananas 1kg": (110, 240),
    "Ground coffee": (390, 890),
    "Orange juice": (180, 350),
    "Cheddar cheese": (280, 640),
    "Olive oil 500ml": (480, 1290),
    "Tomatoes 500g": (150, 340),
    "Pasta 500g": (90, 260),
    "Green tea": (210, 560),
    "Dark chocolate": (130, 390),
    "Apples 1kg": (160, 370),
    "Basmati rice": (230, 540),
    "Yoghurt 500g": (120, 290),
    "Dish soap": (140, 360),
    "Paper towels": (210, 590),
}
PRODUCTS = ("Lamps", "Chairs", "Desks", "Shelves", "Rugs", "Mirrors", "Clocks", "Vases", "Stools", "Benches")
REGIONS = ("North", "South", "East", "West", "Central", "Coast")
TEAMS = ("Alpha", "Bravo", "Delta", "Echo", "Gamma", "Kappa", "Omega", "Sigma")
MEASURES = ("Units sold", "Visitors", "Orders", "Tickets closed", "Parcels shipped", "Calls answered")


class Menu(NamedTuple):
    """A menu board in one script: its title and its dishes."""

    title: str
    dishes: tuple[str, ...]


LATIN_MENU = Menu(
    "Menü · Carte · Menú",
    (
        "Crème brûlée",
        "Käsespätzle",
        "Piñón tostado",
        "Soupe à l’oignon",
        "Grüne Soße",
        "Pão de açúcar",
        "Smørrebrød",
        "Jabłecznik",
        "Gâteau forêt-noire",
        "Añejo de la casa",
        "Köttbullar",
        "Çılbır",
    ),
)
JAPANESE_MENU = Menu(
    "お品書き",
    (
        "天ぷらうどん",
        "味噌汁",
        "焼き鳥",
        "カレーライス",
        "抹茶アイス",
        "親子丼",
        "冷やしそば",
        "餃子",
        "おにぎり",
        "鮭の塩焼き",
        "たこ焼き",
        "緑茶",
    ),
)
ARABIC_MENU = Menu(
    "قائمة الطعام",
    (
        "قهوة عربية",
        "شاي بالنعناع",
        "حمص بالطحينة",
        "سلطة خضراء",
        "عصير برتقال",
        "شوربة عدس",
        "خبز طازج",
        "دجاج مشوي",
        "أرز باللحم",
        "كنافة بالجبن",
        "فلافل",
        "لبن بارد",
    ),
)
DEVANAGARI_MENU = Menu(
    "आज का मेन्यू",
    (
        "मसाला चाय",
        "आलू गोभी",
        "पनीर टिक्का",
        "दाल मखनी",
        "मीठी लस्सी",
        "समोसा",
        "गाजर का हलवा",
        "जीरा चावल",
        "तंदूरी रोटी",
        "खीर",
        "जलेबी",
        "पाव भाजी",
    ),
)


def person(rng: Random) -> str:
    """A given and a family name."""
    return f"{rng.choice(GIVEN_NAMES)} {rng.choice(FAMILY_NAMES)}"


def street(rng: Random) -> str:
    """A street and house number."""
    return f"{rng.randint(2, 198)} {rng.choice(STREETS)}"


def digits(rng: Random, count: int) -> str:
    """That many digits, the first not 0."""
    return str(rng.randint(10 ** (count - 1), 10**count - 1))
